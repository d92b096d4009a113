import numpy as np
from PIL import Image

from mdm.data import datasets
from mdm.data.images import decode_image
from mdm.data.rendering.recipe import make_jobs, renderer


def test_splits_have_the_counts_asked_for(section):
  counts = {s: len(datasets.load(section, s)) for s in ("train", "test", "test_words")}
  assert counts == {"train": 150, "test": 20, "test_words": 20}


def test_fonts_and_words_that_were_held_out_are_noted(section):
  noted = datasets.load(section, "test").describe()
  assert set(noted["fonts_train"]).isdisjoint(noted["fonts_test"])
  assert noted["words_train"] + noted["words_test"] == 500
  assert len(noted["families_test"]) >= 1


def test_words_of_the_test_split_are_not_trained_on(section):
  train, test = (datasets.load(section, s) for s in ("train", "test"))
  trained = {train.text(k) for k in range(len(train))}
  assert trained.isdisjoint(test.text(k) for k in range(len(test)))


def test_photographs_are_decoded_once_and_give_the_same_images(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
  (tmp_path / "views").mkdir()
  Image.fromarray(noise).save(tmp_path / "views" / "bark.png")
  section = {
    "name": "rendered_words", "data_dir": str(tmp_path / "built"), "num_train": 30,
    "num_test": 2, "num_words": 500, "style": "scene", "strength": 1.0,
    "photos_dir": str(tmp_path / "views"),
  }  # fmt: skip
  datasets.prepare(**section, num_workers=1)
  train = datasets.load(section, "train")
  job = make_jobs(train.settings.render_settings(), num_words=500)["train"]
  make = renderer(job)
  for k in range(30):
    expected = decode_image(make(k)["image"], name="expected")
    assert (train.record(k)["image"] == expected).all()
  (prepared,) = (tmp_path / "built" / "photos").iterdir()
  assert {p.name for p in prepared.iterdir()} == {"pixels.npy", "shapes.npy"}
