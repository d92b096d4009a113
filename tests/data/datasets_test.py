import numpy as np
import pytest

from mdm.data import datasets


def test_every_named_data_set_says_what_it_is():
  names = {"rendered_words", "iiit5k", "folder", "kjv", "text_corpora", "text"}
  assert set(datasets.available()) == names | {
    "pairs", "kjv_halves", "cifar10", "omniglot", "images", "tfds", "mqar", "needle",
    "spoken_digits", "asterisk_prompts", "speech", "tfds_speech",
  }  # fmt: skip


def test_an_unknown_data_set_lists_the_known():
  with pytest.raises(
    ValueError, match=r"'mnist' is no data set; known: rendered_words"
  ):
    datasets.load({"name": "mnist"})


def test_every_family_gives_what_the_pipeline_asks_for(section, tmp_path):
  for k in range(5):
    (tmp_path / f"{k}.txt").write_text(f"The text of number {k}.")
  text = {"name": "text", "path": str(tmp_path), "data_dir": str(tmp_path / "home")}
  datasets.prepare(**text)
  for chosen in (section, text):
    dataset = datasets.load(chosen, "test")
    assert isinstance(dataset, datasets.Dataset)
    assert datasets.count_examples(chosen)["test"] == len(dataset)


def test_the_contact_sheet_shows_images_and_texts(section):
  sheet = datasets.contact_sheet(datasets.load(section, "test"), 20, columns=5)
  assert sheet.size == (5 * 100, 4 * 50)
  assert np.asarray(sheet).std() > 20


def test_samples_of_texts_are_spread_over_the_split(section):
  dataset = datasets.load(section, "test")  # 20 words
  shown = [record["name"] for record in datasets.sample_texts(dataset, 3)]
  assert shown == [dataset.record(k)["name"] for k in (0, 9, 19)]
