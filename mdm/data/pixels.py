"""Small images as rows of pixel tokens: one token of 0..255 per channel of a pixel.

The order is that of the array [y x c]: rows, columns, then channels.
"""

import dataclasses
import pathlib
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from mdm.data import building, images
from mdm.data.records import TfdsRecords, read_all
from mdm.data.settings import DataSettings


@dataclasses.dataclass(frozen=True)
class PixelSettings(DataSettings):
  """Which images.

  Attributes:
    name: "cifar10".
    manual_dir: the folder with cifar10_train.tar.xz or its contents.
  """

  BUILD_KEYS: ClassVar[tuple[str, ...]] = ("manual_dir",)

  name: str = "cifar10"
  manual_dir: str | None = None


def prepare(
  settings: PixelSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  return building.prepare(
    settings, force=force, progress=progress, num_workers=num_workers
  )


def count_examples(settings: PixelSettings) -> dict[str, int]:
  """Images of each split of a data set that is built."""
  splits = building.open_builder(settings).info.splits
  return {name: int(split.num_examples) for name, split in splits.items()}


def load(settings: PixelSettings, split: str) -> "Pixels":
  """The images of a split."""
  return Pixels(settings, split)


class Pixels:
  """Images of one split with their classes, decoded once and kept."""

  shapes = None
  is_in_memory = True

  def __init__(self, settings: PixelSettings, split: str) -> None:
    self.settings, self.split = settings, split
    records = TfdsRecords(settings, split)
    features = records.info.features
    rows, columns, channels = features["image"].shape
    self.classes = tuple(features["label"].names)
    self._images = np.empty((len(records), rows, columns, channels), np.uint8)
    self._labels = np.empty(len(records), np.int32)
    for k, (content, name) in enumerate(read_all(records)):
      self._images[k] = images.decode_image(
        content, name=records.name(k), image_size=(rows, columns), channels=channels
      )
      self._labels[k] = self.classes.index(name)

  def __len__(self) -> int:
    return len(self._images)

  def facts(self) -> dict[str, int]:
    """What a method must agree with."""
    return {"vocab_size": 256}

  def describe(self) -> dict[str, Any]:
    """Counts and sizes for a report."""
    return {
      "name": self.settings.name,
      "split": self.split,
      "num_examples": len(self),
      "image_shape": list(self._images.shape[1:]),
      "length": int(self._images[0].size),
      "classes": list(self.classes),
      **self.facts(),
    }

  def record(self, index: int) -> dict[str, Any]:
    """Image [y x c], name of its class as text, and name of one example."""
    return {
      "image": self._images[index],
      "text": self.classes[self._labels[index]],
      "name": f"{self.settings.name}:{self.split}[{index}]",
    }

  def fetch(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Tokens, valid and label of images."""
    tokens = self._images[indices].reshape(len(indices), -1).astype(np.int32)  # b yxc
    return {
      "tokens": tokens,
      "valid": np.ones(tokens.shape, bool),
      "label": self._labels[indices],
    }

  def draw(
    self, indices: Int[np.ndarray, "b"], places: Int[np.ndarray, "b"], seed: int
  ) -> dict[str, np.ndarray]:
    """The same for training: images are not changed."""
    del places, seed
    return self.fetch(indices)
