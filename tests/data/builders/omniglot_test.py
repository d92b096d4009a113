import collections
import io
import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets
from mdm.data.builders.omniglot import CLASSES, PARTS, drawer_of, read_files

PUBLISHED = pathlib.Path(os.environ.get("MDM_DATA_DIR", "")) / "omniglot.tar"
SMALL = {PARTS[0]: ("Greek", "Latin"), PARTS[1]: ("Greek", "Tagalog")}


def encoded(value):
  """A black and white PNG of 105 x 105 whose upper rows, `value` of them, are black."""
  pixels = np.full((105, 105), 255, np.uint8)
  pixels[:value] = 0
  store = io.BytesIO()
  Image.fromarray(pixels).convert("1").save(store, "PNG")
  return store.getvalue()


def members(alphabets):
  """Two characters of each alphabet by 20 drawers, as the published names are."""
  return {
    f"{name}/character{k:02d}/{len(name):04d}_{drawer:02d}.png": encoded(k)
    for name in alphabets
    for k in (1, 2)
    for drawer in range(1, 21)
  }


def as_zip(part):
  """A part as a zip."""
  store = io.BytesIO()
  with zipfile.ZipFile(store, "w") as archive:
    for name, content in members(SMALL[part]).items():
      archive.writestr(f"{part}/{name}", content)
  return store.getvalue()


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  folder = tmp_path_factory.mktemp("omniglot")
  with tarfile.open(folder / "omniglot.tar", "w") as tar:
    for part in PARTS:
      (folder / f"{part}.zip").write_bytes(as_zip(part))
      tar.add(folder / f"{part}.zip", f"./{part}.zip")
      (folder / f"{part}.zip").unlink()
  home = str(tmp_path_factory.mktemp("home"))
  section = {"name": "omniglot", "data_dir": home, "manual_dir": str(folder)}
  datasets.prepare(**section)
  return section


def test_images_are_black_and_white_with_their_character(section):
  dataset = datasets.load(section, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  assert found["image"].shape == (len(dataset), 105, 105, 1)
  assert set(np.unique(found["image"])) == {0, 255}
  black = (found["image"] == 0).sum(axis=(1, 2, 3)) // 105
  names = [CLASSES[label] for label in found["label"]]
  assert [int(name[-2:]) for name in names] == black.tolist()
  assert {name.partition("/")[0] for name in names} == {"Greek", "Latin", "Tagalog"}


def test_every_character_has_sixteen_two_and_two_images(section):
  assert datasets.count_examples(section) == {
    "train": 96, "validation": 12, "test": 12
  }  # fmt: skip
  for split, count in (("train", 16), ("validation", 2), ("test", 2)):
    labels = datasets.load(section, split)
    found = collections.Counter(labels.fetch(np.arange(len(labels)))["label"].tolist())
    assert set(found.values()) == {count} and len(found) == 6


def test_no_hand_draws_in_two_splits_of_an_alphabet(section):
  from mdm.data.builders.omniglot import split_drawers

  splits = split_drawers(sorted(members(("Greek", "Latin"))))
  hands = {split: {drawer_of(n) for n in names} for split, names in splits.items()}
  assert {split: len(found) for split, found in hands.items()} == {
    "train": 32, "validation": 4, "test": 4
  }  # fmt: skip
  assert len(set.union(*hands.values())) == 40


def test_zips_and_folders_read_as_the_archive_does(section, tmp_path):
  wanted = read_files(pathlib.Path(section["manual_dir"]))
  assert len(wanted) == 3 * 2 * 20  # Greek is in both parts and counts once
  (tmp_path / f"{PARTS[0]}.zip").write_bytes(as_zip(PARTS[0]))
  with zipfile.ZipFile(io.BytesIO(as_zip(PARTS[1]))) as archive:
    archive.extractall(tmp_path)
  assert read_files(tmp_path) == wanted


def test_what_is_missing_broken_or_unknown_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"data\.manual_dir = None has no Omnigl"):
    datasets.prepare("omniglot", str(tmp_path / "home"))
  (tmp_path / f"{PARTS[0]}.zip").write_bytes(b"PK")
  with pytest.raises(ValueError, match=r"small1\.zip cannot be read.*fetch it again"):
    read_files(tmp_path)
  (tmp_path / f"{PARTS[0]}.zip").unlink()
  (tmp_path / "omniglot.tar").write_bytes(b"x")
  with pytest.raises(ValueError, match=r"omniglot\.tar cannot be read as an archive"):
    read_files(tmp_path)
  for part in PARTS:
    (tmp_path / part / "Klingon/character01").mkdir(parents=True)
    (tmp_path / part / "Klingon/character01/0001_01.png").write_bytes(encoded(1))
  with pytest.raises(ValueError, match=r"'Klingon/character01' where Omniglot's small"):
    read_files(tmp_path)


@pytest.mark.skipif(
  not PUBLISHED.is_file(), reason="MDM_DATA_DIR names no folder with omniglot.tar"
)
def test_the_published_archive_has_all_characters():
  found = collections.Counter(
    n.rpartition("/")[0] for n in read_files(PUBLISHED.parent)
  )
  assert set(found) == set(CLASSES) and len(CLASSES) == 242
  assert set(found.values()) == {20}
