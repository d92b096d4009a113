import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets


def load(folder, split="test", **changes):
  return datasets.load({"name": "folder", "folder": str(folder), **changes}, split)


def test_an_unknown_split_lists_those_that_are_there(section):
  with pytest.raises(ValueError, match=r"no split 'dev'; it has train, test"):
    datasets.load(section, "dev")


def test_facts_are_what_a_method_must_agree_with(section):
  facts = datasets.load(
    section | {"charset": "printable", "canvas": 20}, "test"
  ).facts()
  assert facts == {"num_characters": 94, "canvas": 20}


def test_memory_and_disk_give_the_same_examples(section):
  kept = datasets.load(section | {"in_memory": True}, "train")
  disk = datasets.load(section | {"in_memory": False}, "train")
  assert kept.is_in_memory
  assert not disk.is_in_memory
  numbers = np.array([149, 0, 77, 0])
  for (name, a), b in zip(
    kept.fetch(numbers).items(), disk.fetch(numbers).values(), strict=True
  ):
    assert (a == b).all(), name
    assert a.dtype == b.dtype
  assert kept.text(77) == disk.text(77)


def test_tokens_spell_the_text_of_the_record(section):
  dataset = datasets.load(section, "train")
  found = dataset.fetch(np.arange(20))
  for k in range(20):
    record = dataset.record(k)
    assert dataset.charset.decode(found["tokens"][k]) == record["text"]
    assert found["valid"][k].sum() == len(record["text"]) + 1
    assert (found["image"][k] == record["image"]).all()


def test_a_folder_pairs_images_with_their_lines(photos):
  dataset = load(photos)
  assert len(dataset) == 60
  for k in (0, 13, 59):
    record = dataset.record(k)
    assert record["text"] == f"word{k}"
    assert (record["image"] == k).all()
    assert record["name"].endswith(f"{k:02d}.png")


def test_a_folder_without_labels_has_empty_texts(tmp_path):
  Image.new("L", (30, 20)).save(tmp_path / "a.png")
  (tmp_path / "notes.md").write_text("no image")
  dataset = load(tmp_path)
  assert (len(dataset), dataset.text(0)) == (1, "")
  assert not dataset.fetch(np.array([0]))["valid"].any()


def test_training_drops_what_does_not_fit_and_evaluation_keeps_it(tmp_path):
  lines = []
  for name, text in [("a", "fits"), ("b", "toolong"), ("c", "?!")]:
    Image.new("L", (30, 20)).save(tmp_path / f"{name}.png")
    lines.append(f"{name}.png\t{text}")
  (tmp_path / "labels.txt").write_text("\n".join(lines))
  train, test = (load(tmp_path, s, canvas=6) for s in ("train", "test"))
  assert (len(train), train.num_dropped, train.text(0)) == (1, 2, "fits")
  assert (len(test), test.num_dropped) == (3, 0)
  with pytest.raises(ValueError, match="none of 3 texts fits"):
    load(tmp_path, "train", canvas=3)


@pytest.mark.parametrize("line", ["missing.png word", "00.png", "00.png  "])
def test_a_wrong_line_of_labels_is_named(tmp_path, line):
  Image.new("L", (30, 20)).save(tmp_path / "00.png")
  (tmp_path / "labels.txt").write_text(line)
  with pytest.raises(ValueError, match=r"labels\.txt, line 1"):
    load(tmp_path)


def test_missing_and_empty_folders_are_refused(tmp_path):
  with pytest.raises(ValueError, match="holds no image"):
    load(tmp_path)
  with pytest.raises(ValueError, match="is no folder"):
    load(tmp_path / "none")
  with pytest.raises(ValueError, match=r"data\.labels = .* does not exist"):
    load(tmp_path, labels="none.txt")


def test_an_unreadable_image_of_a_folder_is_named(tmp_path):
  (tmp_path / "bad.png").write_bytes(b"nothing")
  with pytest.raises(ValueError, match=r"bad\.png"):
    load(tmp_path).fetch(np.array([0]))


def test_buckets_are_counted_and_keep_the_ratio(photos):
  dataset = load(photos, buckets=True)
  assert dataset.image_shape is None
  counts = dataset.describe()["buckets"]
  assert sum(counts.values()) == 60
  assert set(counts) == {"64x64", "48x96", "40x112", "32x128"}
  assert dataset.record(3)["image"].shape == (32, 128, 1)
