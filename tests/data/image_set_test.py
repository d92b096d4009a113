import io
import os
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets, images, pipeline
from mdm.data.batch import check_batch
from mdm.data.builders.cifar10 import CLASSES, read_part
from mdm.data.image_set import ImageSet

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


def test_a_share_of_labels_is_the_same_share_of_each_class(section):
  whole = datasets.load(section, "train")
  few, more = (
    datasets.load(section | {"label_share": share, "label_seed": 3}, "train")
    for share in (0.1, 0.6)
  )
  rows = [
    {image.tobytes() for image in d.fetch(np.arange(len(d)))["image"]}
    for d in (few, more, whole)
  ]
  assert rows[0] < rows[1] < rows[2]
  assert few.fetch(np.arange(10))["label"].tolist() == list(range(10))
  assert len(datasets.load(section | {"label_share": 0.1}, "validation")) + len(
    whole
  ) == sum(datasets.count_examples(section).values())


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


@pytest.fixture
def photos(tmp_path):
  """Twenty images of 20 x 30 in two classes, as settings of a folder of images."""
  rng = np.random.default_rng(0)
  for k in range(20):
    path = tmp_path / "ab"[k % 2] / f"{k:02d}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
  return {"name": "images", "folder": str(tmp_path)}


def test_images_come_to_one_size_by_their_middle_or_stretched(photos):
  own = datasets.load(photos).fetch(np.arange(3))["image"]
  sized = photos | {"image_size": (10, 10)}
  for crop, part in (("center", own[:, :, 5:25]), ("stretch", own)):
    found = datasets.load(sized | {"crop": crop}).fetch(np.arange(3))["image"]
    wanted = [
      Image.fromarray(x).resize((10, 10), Image.Resampling.BICUBIC) for x in part
    ]
    assert (found == np.stack(wanted)).all()
  middle = datasets.load(sized | {"crop_share": 0.5}).fetch(np.arange(3))["image"]
  assert (middle == own[:, 5:15, 10:20]).all()


def test_channels_and_form_are_those_asked_for(photos):
  dataset = datasets.load(photos | {"channels": 1, "form": "tokens"})
  found = dataset.fetch(np.arange(4))
  assert found["tokens"].shape == (4, 600) and found["tokens"].dtype == np.int32
  assert dataset.describe()["image_shape"] == [20, 30, 1]
  check_batch(pipeline.batch_at(dataset, 0, seed=0, batch=4))


def test_random_crops_differ_by_place_and_not_by_process(photos):
  section = photos | {"crop": "random", "image_size": (8, 8)}
  dataset = datasets.load(section)
  assert not dataset.is_in_memory
  whole = pipeline.batch_at(dataset, 5, seed=1, batch=4)
  half = pipeline.batch_at(dataset, 5, seed=1, batch=4, process=1, num_processes=2)
  assert (whole["image"][2:] == half["image"]).all()
  same, places = np.zeros(6, int), np.arange(6)
  drawn = dataset.draw(same, places, 0)["image"]
  assert len({image.tobytes() for image in drawn}) == 6
  assert (drawn != dataset.draw(same, places, 1)["image"]).any()
  still = datasets.load(photos | {"image_size": (8, 8)}).fetch(same)
  assert (dataset.fetch(same)["image"] == still["image"]).all()


def break_image(folder):
  """Cuts an image of training off, and gives its path."""
  path = sorted((pathlib.Path(folder) / "a").iterdir())[3]
  path.write_bytes(path.read_bytes()[:60])
  return path


def test_a_corrupt_image_stops_and_is_named(photos):
  path = break_image(photos["folder"])
  with pytest.raises(ValueError, match=rf"{path} cannot be dec.*data\.on_corrupt=skip"):
    datasets.load(photos, "train+validation")


def test_images_are_decoded_when_first_asked_for_and_once(photos, monkeypatch):
  monkeypatch.setattr(ImageSet, "_leave_out", lambda self: None)  # as of a built set
  dataset = datasets.load(photos, "train+validation")
  decode, decoded = images.decode_image, []

  def count(content, **options):
    decoded.append(options["name"])
    return decode(content, **options)

  monkeypatch.setattr(images, "decode_image", count)
  first = dataset.fetch(np.array([4, 2, 4]))
  assert len(decoded) == 2 and not dataset.is_in_memory
  again = dataset.fetch(np.array([2, 7, 4]))
  assert len(decoded) == 3
  for name in ("image", "label"):
    assert (first[name][[1, 0]] == again[name][[0, 2]]).all()
  whole = dataset.fetch(np.arange(20))
  assert len(decoded) == len(set(decoded)) == 20 and dataset.is_in_memory
  fresh = datasets.load(photos | {"in_memory": False}, "train+validation")
  assert (fresh.fetch(np.arange(20))["image"] == whole["image"]).all()


def test_a_corrupt_image_that_is_skipped_is_named_counted_and_left_out(photos, caplog):
  path = break_image(photos["folder"])
  dataset = datasets.load(photos | {"on_corrupt": "skip"}, "train+validation")
  assert len(dataset) == 19 and dataset.describe()["num_corrupt"] == 1
  assert str(path) in caplog.text
  assert str(path) not in {dataset.record(k)["name"] for k in range(19)}
  labels = dataset.fetch(np.arange(19))["label"]
  assert np.bincount(labels).tolist() == [9, 10]


def test_a_corrupt_image_that_is_read_again_has_a_stand_in_and_no_weight(photos):
  path = break_image(photos["folder"])
  section = photos | {"on_corrupt": "skip", "in_memory": False}
  dataset = datasets.load(section, "train+validation")
  names = [dataset.records.name(k) for k in range(20)]
  broken = names.index(str(path))
  drawn = dataset.draw(np.arange(20), np.arange(20), 0)
  plain = dataset.fetch((np.arange(20) + (np.arange(20) == broken)) % 20)
  assert all((drawn[name] == plain[name]).all() for name in ("image", "label"))
  for _ in range(2):
    weight = [b["weight"] for b in pipeline.eval_batches(dataset, 8)]
  wanted = (np.arange(24) < 20) & (np.arange(24) != broken)
  assert (np.concatenate(weight) == wanted).all()
  assert dataset.num_corrupt == 1


@pytest.mark.parametrize("in_memory", [None, False])
def test_where_no_image_is_whole_nothing_is_skipped(photos, in_memory):
  for path in pathlib.Path(photos["folder"]).glob("*/*.png"):
    path.write_bytes(path.read_bytes()[:60])
  section = photos | {"on_corrupt": "skip", "in_memory": in_memory}
  with pytest.raises(ValueError, match="none of 18 images can be decoded; the last"):
    datasets.load(section | {"image_size": (6, 6)}).draw(np.arange(4), np.arange(4), 0)
  with pytest.raises(ValueError, match="none of 18 images can be read"):
    datasets.load(section)


def test_images_of_several_sizes_ask_for_one(photos):
  path = sorted((pathlib.Path(photos["folder"]) / "b").iterdir())[0]
  Image.new("RGB", (7, 5)).save(path)
  with pytest.raises(ValueError, match=r"rows and columns where others.*image_size"):
    datasets.load(photos, "train+validation")
  sized = photos | {"image_size": (6, 6)}
  assert len(datasets.load(sized, "train+validation")) == 20
