import itertools

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets
from mdm.data.image_folders import list_folder


def fill(folder, names):
  """Small images at these paths."""
  for k, name in enumerate(names):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), k, np.uint8)).save(folder / name)
  return str(folder)


CATS = [f"cat/{k:02d}.png" for k in range(20)]
DOGS = [f"dog/deep/{k:02d}.PNG" for k in range(30)]


def test_a_tenth_of_each_class_is_held_out(tmp_path):
  found = list_folder(fill(tmp_path, CATS + DOGS))
  assert found.classes == ("cat", "dog")
  assert sorted(itertools.chain(*found.splits.values())) == CATS + DOGS
  held = [path.partition("/")[0] for path in found.splits["validation"]]
  assert held == ["cat"] * 2 + ["dog"] * 3


def test_what_is_held_out_does_not_depend_on_where_the_folder_is(tmp_path):
  found = [list_folder(fill(tmp_path / place, CATS)).splits for place in ("a", "b/c")]
  assert found[0] == found[1]


def test_parts_are_splits_and_only_missing_validation_is_held_out(tmp_path):
  names = [f"train/{name}" for name in CATS] + ["test/cat/1.png"]
  fill(tmp_path, names)
  splits = list_folder(str(tmp_path)).splits
  assert {name: len(paths) for name, paths in splits.items()} == {
    "train": 18, "validation": 2, "test": 1
  }  # fmt: skip
  fill(tmp_path, ["val/cat/7.png"])
  found = list_folder(str(tmp_path))
  assert found.splits["validation"] == ["val/cat/7.png"]
  assert found.splits["train"] == sorted(names[:20])


def test_a_class_may_be_called_train(tmp_path):
  found = list_folder(fill(tmp_path, ["train/1.png", "train/2.png", *CATS]))
  assert found.classes == ("cat", "train")


def test_images_without_folders_are_one_class_by_their_folders_name(tmp_path):
  folder = fill(
    tmp_path / "photos", [f"{k}.png" for k in range(20)] + ["notes.txt.png"]
  )
  found = list_folder(folder)
  assert found.classes == ("photos",) and len(found.splits["train"]) == 19
  assert len(found.splits["validation"]) == 2
  dataset = datasets.load({"name": "images", "folder": folder}, "train")
  assert dataset.record(0)["text"] == "photos" and len(dataset) == 19


def test_a_folder_named_by_a_dot_is_known_by_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(fill(tmp_path / "photos", ["a.png", "b.png"]))
  assert list_folder(".").classes == ("photos",)


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_folder_is_read_where_it_lies(tmp_path, prefix):
  names = [f"{prefix}{name}" for name in CATS + DOGS]
  section = {"name": "images", "folder": fill(tmp_path, names)}
  assert datasets.prepare(**section) == tmp_path
  assert datasets.count_examples(section) == {"train": 45, "validation": 5}
  dataset = datasets.load(section, "train+validation")
  found = dataset.fetch(np.arange(50))
  assert found["image"].shape == (50, 4, 6, 3)
  order = np.argsort(found["image"][:, 0, 0, 0])  # image k is k everywhere
  assert found["label"][order].tolist() == [0] * 20 + [1] * 30
  assert dataset.facts() == {"num_classes": 2, "image_size": (4, 6), "channels": 3}
  assert dataset.record(0)["text"] == "cat"


@pytest.mark.parametrize(
  ("names", "message"),
  [
    ([], r"has no folder of images in it; .*cat/1\.jpg"),
    (["1.png"], r"has one image, which cannot be both"),
    (["cat/1.png"], r"class folder .*cat has one image, which cannot be both"),
    ([*CATS, "ant/1.txt.png", "bee/1.png"], r"/ant has one image.*\(2 such\)"),
    (["train/cat/1.png", "val/cat/1.png", "val/ox/1.png"], r"'ox' in its validation"),
  ],
)
def test_folders_that_cannot_be_split_are_refused(tmp_path, names, message):
  with pytest.raises(ValueError, match=message):
    list_folder(fill(tmp_path, names))


def test_missing_folders_empty_classes_and_unknown_splits_are_refused(tmp_path):
  with pytest.raises(ValueError, match=r"data\.folder = None is no folder; set it"):
    datasets.prepare("images")
  folder = fill(tmp_path, CATS)
  section = {"name": "images", "folder": folder}
  with pytest.raises(ValueError, match=r"has no split 'test'; it has train, valid"):
    datasets.load(section, "test")
  (tmp_path / "dog").mkdir()
  with pytest.raises(ValueError, match=r"class folder .*dog holds no image"):
    list_folder(folder)
