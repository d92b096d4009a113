import io
import os
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets
from mdm.data.builders.iiit5k import parse_tags, read_part

PUBLISHED = pathlib.Path(os.environ.get("MDM_DATA_DIR", "")) / "iiit5k_train.tar.xz"


def make_folder(folder, count=40):
  (folder / "train").mkdir()
  lines = []
  for k in range(count):
    pixels = np.full((20, 30 + k, 3), k, np.uint8)
    Image.fromarray(pixels).save(folder / "train" / f"{k}_1.png")
    lines.append(f"train/{k}_1.png Word{k}")
  (folder / "train.tags").write_text("\n".join(lines) + "\n")
  return folder


def load(folder, tmp_path, split):
  section = {"name": "iiit5k", "data_dir": str(tmp_path), "charset": "printable"}
  datasets.prepare(**section, manual_dir=str(folder))
  return datasets.load(section, split)


def test_train_and_validation_share_the_published_words(tmp_path):
  folder = make_folder(tmp_path)
  splits = [load(folder, tmp_path / "built", s) for s in ("train", "validation")]
  texts = [{d.text(k) for k in range(len(d))} for d in splits]
  assert texts[0].isdisjoint(texts[1])
  assert texts[0] | texts[1] == {f"Word{k}" for k in range(40)}
  assert texts[1]
  assert len(load(folder, tmp_path / "built", "train+validation")) == 40


def test_images_belong_to_their_words(tmp_path):
  dataset = load(make_folder(tmp_path), tmp_path / "built", "train")
  for index in range(len(dataset)):
    record = dataset.record(index)
    assert (record["image"] == int(record["text"].removeprefix("Word"))).all()


def test_the_archive_reads_as_the_folder_does(tmp_path):
  folder = make_folder(tmp_path, count=3)
  (tmp_path / "packed").mkdir()
  with tarfile.open(tmp_path / "packed" / "iiit5k_train.tar.xz", "w:xz") as tar:
    for name in ("train", "train.tags"):
      tar.add(folder / name, name)
  assert read_part(tmp_path / "packed", "train") == read_part(folder, "train")
  assert read_part(folder, "test") is None


def test_a_test_part_becomes_a_split(tmp_path):
  folder = make_folder(tmp_path)
  (folder / "test").mkdir()
  Image.new("RGB", (20, 10)).save(folder / "test" / "a.png")
  (folder / "test.tags").write_text("test/a.png Held\n")
  assert load(folder, tmp_path / "built", "test").text(0) == "Held"


def test_what_is_missing_is_named_with_the_remedy(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"manual_dir = None has no IIIT5K"):
    datasets.prepare("iiit5k", str(tmp_path))
  (tmp_path / "empty").mkdir()
  with pytest.raises(FileNotFoundError, match=r"has no IIIT5K: set data\.manual_dir"):
    datasets.prepare("iiit5k", str(tmp_path), manual_dir=str(tmp_path / "empty"))
  folder = make_folder(tmp_path, count=2)
  (folder / "train" / "1_1.png").unlink()
  with pytest.raises(FileNotFoundError, match=r"names 'train/1_1\.png'"):
    read_part(folder, "train")


def test_a_broken_archive_is_refused(tmp_path):
  (tmp_path / "iiit5k_train.tar.xz").write_bytes(io.BytesIO(b"no archive").getvalue())
  with pytest.raises(ValueError, match="cannot be read as the published archive"):
    read_part(tmp_path, "train")


def test_a_line_without_a_word_is_refused_by_number():
  assert parse_tags("a.png x y\n\nb.png z\n", "t") == [("a.png", "x y"), ("b.png", "z")]
  with pytest.raises(ValueError, match=r"tags, line 2: 'b\.png'"):
    parse_tags("a.png x\nb.png\n", "tags")


@pytest.mark.skipif(
  not PUBLISHED.is_file(), reason="MDM_DATA_DIR has no iiit5k_train.tar.xz"
)
def test_the_published_archive_has_two_thousand_words(tmp_path):
  train = load(PUBLISHED.parent, tmp_path, "train")
  validation = load(PUBLISHED.parent, tmp_path, "validation")
  assert len(train) + len(validation) + train.num_dropped == 2000
  assert 150 < len(validation) < 250
  assert train.record(0)["image"].shape == (32, 96, 1)
