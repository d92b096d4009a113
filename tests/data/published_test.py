"""Data sets of TFDS, stood for by a small one that is registered as TFDS's own are."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mdm.data import datasets, published

COUNTS = {"train": 60, "test": 5}


def encoded(value):
  """A PNG of 4 x 6 pixels of one value."""
  store = io.BytesIO()
  Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(store, "PNG")
  return store.getvalue()


class ToyShades(tfds.core.GeneratorBasedBuilder):
  """Image k is k everywhere, 100 more in the test split; its class is k modulo 3."""

  VERSION = tfds.core.Version("1.0.0")
  LABEL = "label"

  def _info(self):
    features = {
      "image": tfds.features.Image(shape=(4, 6, 3)),
      self.LABEL: tfds.features.ClassLabel(num_classes=3),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples(name) for name in COUNTS}

  def _generate_examples(self, split):
    first = 100 if split == "test" else 0
    for k in range(COUNTS[split]):
      yield k, {"image": encoded(first + k), self.LABEL: k % 3}


class ToyUnlabelled(ToyShades):
  """The same without a label."""

  LABEL = "kind"


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  home = str(tmp_path_factory.mktemp("home"))
  section = {"name": "tfds", "tfds_name": "toy_shades", "data_dir": home}
  datasets.prepare(**section)
  return section


def values(section, split):
  """The value of each image of a split, in order."""
  dataset = datasets.load(section, split)
  return dataset.fetch(np.arange(len(dataset)))["image"][:, 0, 0, 0].tolist()


def test_a_validation_split_is_held_out_where_there_is_none(section):
  counts = datasets.count_examples(section)
  train, held = values(section, "train"), values(section, "validation")
  assert sorted(train + held) == list(range(60)) and held
  assert counts == {"train": len(train), "validation": len(held), "test": 5}


def test_splits_are_joined_in_the_order_asked_for(section):
  for split in ("test+train", "validation+test", "train+validation"):
    first, second = split.split("+")
    assert values(section, split) == values(section, first) + values(section, second)


def test_images_come_with_their_class(section):
  dataset = datasets.load(section, "test")
  found = dataset.fetch(np.arange(5))
  assert found["label"].tolist() == [0, 1, 2, 0, 1]
  assert dataset.facts() == {"num_classes": 3, "image_size": (4, 6), "channels": 3}
  assert dataset.describe()["name"] == "toy_shades"


def test_a_share_of_labels_keeps_to_the_training_part(section):
  few = section | {"label_share": 0.2}
  train, chosen = values(section, "train"), values(few, "train")
  assert set(chosen) < set(train)
  for label in range(3):
    count = sum(k % 3 == label for k in train)
    assert sum(k % 3 == label for k in chosen) == max(1, round(0.2 * count))
  assert values(few, "validation") == values(section, "validation")
  assert datasets.count_examples(few)["train"] == len(chosen)


def test_unknown_unbuilt_and_unlabelled_data_sets_are_refused(section):
  with pytest.raises(
    ValueError, match=r"'toy_shade' is no data set of TFDS .*toy_shad"
  ):
    datasets.prepare(**section | {"tfds_name": "toy_shade"})
  other = section | {"tfds_name": "toy_unlabelled"}
  with pytest.raises(ValueError, match=r"is not built; run .*tfds_name=toy_unlabelled"):
    datasets.load(other, "train")
  datasets.prepare(**other)
  with pytest.raises(ValueError, match=r"has image, kind, not an image and a label"):
    datasets.load(other, "train")
  with pytest.raises(ValueError, match="has no split 'dev'"):
    datasets.load(section, "dev")


def test_what_a_published_builder_lacks_is_said_in_a_sentence():
  missing = ModuleNotFoundError("no", name="tensorflow.io")
  with (
    pytest.raises(ValueError, match="'mnist' is built by TFDS with TensorFlow, which"),
    published.explain_failures("mnist"),
  ):
    raise missing
  with (
    pytest.raises(ValueError, match=r"fetch yourself; set data\.manual_dir"),
    published.explain_failures("imagenet2012"),
  ):
    raise AssertionError("Manual directory x does not exist; see manual_dir")
  with pytest.raises(AssertionError), published.explain_failures("mnist"):
    raise AssertionError("another")
