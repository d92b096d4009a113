import io
import os
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch
from mdm.data.builders.cifar10 import CLASSES, read_part

PUBLISHED = pathlib.Path(os.environ.get("MDM_DATA_DIR", "")) / "cifar10_train.tar.xz"


def make_folder(folder, count=40, part="train", suffix="png"):
  """Images of noise whose first pixel says their class."""
  rng = np.random.default_rng(0)
  for k in range(count):
    place = folder / part / CLASSES[k % 10]
    place.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    pixels[0, 0] = k % 10
    Image.fromarray(pixels).save(place / f"{k:04d}.{suffix}")
  return folder


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  folder = make_folder(tmp_path_factory.mktemp("images"))
  home = str(tmp_path_factory.mktemp("home"))
  section = {"name": "cifar10", "data_dir": home, "manual_dir": str(folder)}
  datasets.prepare(**section)
  return section


def test_tokens_are_the_pixels_row_by_row_with_their_class(section):
  dataset = datasets.load(section | {"form": "tokens"}, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  assert found["tokens"].shape == (len(dataset), 3_072)
  assert (found["tokens"][:, :3] == found["label"][:, None]).all()
  for k in range(len(dataset)):
    record = dataset.record(k)
    assert record["text"] == CLASSES[found["label"][k]]
    assert (record["image"].reshape(-1) == found["tokens"][k]).all()
  assert dataset.facts() == {"vocab_size": 256}


def test_images_come_as_their_files_have_them_with_their_class(section):
  dataset = datasets.load(section, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  assert found["image"].shape == (len(dataset), 32, 32, 3)
  assert found["image"].dtype == np.uint8
  assert (found["image"][:, 0, 0] == found["label"][:, None]).all()
  assert dataset.facts() == {"num_classes": 10, "image_size": (32, 32), "channels": 3}


def test_training_and_validation_share_the_images(section):
  assert sum(datasets.count_examples(section).values()) == 40
  rows = [
    {d.fetch(np.array([k]))["image"].tobytes() for k in range(len(d))}
    for d in (datasets.load(section, s) for s in ("train", "validation"))
  ]
  assert rows[0].isdisjoint(rows[1]) and rows[1]


def test_batches_keep_to_the_table_for_any_number_of_processes(section):
  dataset = datasets.load(section, "train")
  whole = pipeline.batch_at(dataset, 9, seed=1, batch=8)
  check_batch(whole)
  half = pipeline.batch_at(dataset, 9, seed=1, batch=8, process=1, num_processes=2)
  assert all((whole[name][4:] == array).all() for name, array in half.items())


def test_the_archive_reads_as_the_folder_does(section, tmp_path):
  folder = pathlib.Path(section["manual_dir"])
  with tarfile.open(tmp_path / "cifar10_train.tar.xz", "w:xz") as tar:
    tar.add(folder / "train", "train")
  assert read_part(tmp_path, "train") == read_part(folder, "train")


def test_a_test_part_becomes_a_split(tmp_path):
  make_folder(make_folder(tmp_path / "x", 20), 10, "test")
  section = {"name": "cifar10", "data_dir": str(tmp_path)}
  datasets.prepare(**section, manual_dir=str(tmp_path / "x"))
  assert datasets.count_examples(section)["test"] == 10


def test_what_is_missing_cut_or_of_no_class_is_refused(tmp_path):
  section = {"name": "cifar10", "data_dir": str(tmp_path / "home")}
  with pytest.raises(
    FileNotFoundError, match=r"data\.manual_dir = None has no CIFAR-10"
  ):
    datasets.prepare(**section)
  (tmp_path / "cifar10_train.tar.xz").write_bytes(b"\xfd7zXZ")
  with pytest.raises(ValueError, match="fetch it again"):
    read_part(tmp_path, "train")
  (tmp_path / "train" / "mouse").mkdir(parents=True)
  store = io.BytesIO()
  Image.new("RGB", (32, 32)).save(store, "PNG")
  (tmp_path / "train" / "mouse" / "a.png").write_bytes(store.getvalue())
  with pytest.raises(ValueError, match=r"mouse/a\.png.*airplane, automobile"):
    read_part(tmp_path, "train")


@pytest.mark.slow
@pytest.mark.skipif(
  not PUBLISHED.is_file(),
  reason="MDM_DATA_DIR names no folder with cifar10_train.tar.xz",
)
def test_the_published_archive_has_all_images():
  rows = read_part(PUBLISHED.parent, "train")
  assert len(rows) == 50_000
  assert {name.split("/")[1] for name, _ in rows} == set(CLASSES)
