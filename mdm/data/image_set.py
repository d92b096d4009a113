"""Images with classes: one split, as the pipeline reads it.

In the form "tokens" an image is a row of pixel tokens: one of 0..255 per channel of a
pixel, in the order of the array [y x c].
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from mdm.data import building, crops, images
from mdm.data.image_folders import list_folder
from mdm.data.image_randaugment import randaugment_images
from mdm.data.image_records import count_examples, open_source
from mdm.data.image_settings import ImageSettings
from mdm.data.records import Record

__all__ = ["ImageSet", "count_examples", "load", "prepare"]

KEPT_BYTES = 1 << 30  # what is decoded of data sets up to this size is kept
CHUNK = 1024  # images read at once


def prepare(
  settings: ImageSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  if settings.name == "images":
    return list_folder(settings.folder).folder
  return building.prepare(
    settings, force=force, progress=progress, num_workers=num_workers
  )


def load(settings: ImageSettings, split: str) -> "ImageSet":
  """The images of a split."""
  return ImageSet(settings, split)


class ImageSet:
  """Images of one split with their classes, numbered from 0.

  Small data sets are kept in memory as they are decoded, each image when it is first
  asked for. Where `on_corrupt` is "skip", or files are a user's own, which nobody has
  looked through, all of such a set are decoded at the start; what cannot be decoded
  stops there, or is left out. If images are read each time, another image
  stands in for it in training, and in evaluation it has no weight. `num_corrupt` counts
  those met so far.
  """

  shapes = None

  def __init__(self, settings: ImageSettings, split: str) -> None:
    self.settings, self.split = settings, split
    source = open_source(settings, split)
    self.records, self.classes = source.records, source.classes
    self._numbers = source.numbers
    self._codes = {name: label for label, name in enumerate(source.classes)}
    self._channels = settings.channels or source.shape[2] or 3
    self._size = settings.image_size or self._own_size(source.shape[:2])
    self._corrupt: set[int] = set()
    self._kept: _Kept | None = None
    if self._keeps():
      self._kept = _Kept.empty(len(self), (*self._size, self._channels))
      if settings.on_corrupt == "skip" or settings.name == "images":
        self._leave_out()

  def __len__(self) -> int:
    return len(self._numbers)

  @property
  def is_in_memory(self) -> bool:
    """Whether a batch is a copy of pixels that are there already."""
    kept = self._kept is not None and self._kept.is_there.all()
    return bool(kept) and not self.settings.randaugment

  @property
  def num_corrupt(self) -> int:
    """Images that could not be decoded, so far."""
    return len(self._corrupt)

  def facts(self) -> dict[str, Any]:
    """What a method must agree with."""
    if self.settings.form == "tokens":
      return {"vocab_size": 256}
    return {
      "num_classes": len(self.classes),
      "image_size": self._size,
      "channels": self._channels,
    }

  def describe(self) -> dict[str, Any]:
    """Counts and sizes for a report."""
    shape = [*self._size, self._channels]
    return {
      "name": self.settings.tfds_name or self.settings.name,
      "split": self.split,
      "num_examples": len(self),
      "num_corrupt": self.num_corrupt,
      "form": self.settings.form,
      "image_shape": shape,
      "length": int(np.prod(shape)),
      "classes": list(self.classes),
      **self.facts(),
    }

  def record(self, index: int) -> dict[str, Any]:
    """Image [y x c], name of its class as text, and name of one example."""
    pixels, labels, _ = self._read(np.array([index]))
    return {
      "image": pixels[0],
      "text": self.classes[labels[0]],
      "name": self.records.name(int(self._numbers[index])),
    }

  def fetch(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Image, or tokens and valid, with label; weight 0 where an image is corrupt."""
    pixels, labels, is_whole = self._read(indices)
    found = self._arrange(pixels, labels)
    return found if is_whole.all() else found | {"weight": is_whole.astype(np.float32)}

  def draw(
    self, indices: Int[np.ndarray, "b"], places: Int[np.ndarray, "b"], seed: int
  ) -> dict[str, np.ndarray]:
    """The same for training; crops and RandAugment by seed and place in the stream."""
    rngs, settings = None, self.settings
    if settings.crop == "random":
      rngs = [np.random.default_rng((seed, place)) for place in places.tolist()]
    pixels, labels, is_whole = self._read(indices, rngs)
    while not is_whole.all():
      again = np.flatnonzero(~is_whole)
      indices = np.where(is_whole, indices, (indices + 1) % len(self))
      chosen = None if rngs is None else [rngs[k] for k in again]
      pixels[again], labels[again], is_whole[again] = self._read(indices[again], chosen)
    if settings.randaugment:
      pixels = randaugment_images(
        pixels,
        places,
        seed=seed,
        magnitude=settings.randaugment,
        num_ops=settings.randaugment_ops,
        deviation=settings.randaugment_std,
      )
    return self._arrange(pixels, labels)

  def _arrange(self, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of the table in batch.py, in the form of the settings."""
    if self.settings.form == "image":
      return {"image": pixels, "label": labels}
    tokens = pixels.reshape(len(pixels), -1).astype(np.int32)  # b yxc
    return {"tokens": tokens, "valid": np.ones(tokens.shape, bool), "label": labels}

  def _read(
    self,
    indices: Int[np.ndarray, "b"],
    rngs: Sequence[np.random.Generator] | None = None,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [b y x c], labels [b], and which [b] could be decoded."""
    kept = self._kept
    if kept is None:
      return self._decode_all(indices, rngs)
    missing = np.unique(indices[~kept.is_there[indices]])
    if len(missing):
      kept.images[missing], kept.labels[missing], is_whole = self._decode_all(missing)
      kept.is_there[missing] = is_whole  # last: other threads read too
    return kept.images[indices], kept.labels[indices], kept.is_there[indices]

  def _decode_all(
    self,
    indices: Int[np.ndarray, "b"],
    rngs: Sequence[np.random.Generator] | None = None,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from the records, whatever is kept."""
    numbers = [int(k) for k in self._numbers[indices]]
    read = self.records.read(numbers)
    pixels = np.zeros((len(numbers), *self._size, self._channels), np.uint8)
    is_whole = np.zeros(len(numbers), bool)
    for k, (number, record) in enumerate(zip(numbers, read, strict=True)):
      found = self._decode(number, record, rngs[k] if rngs else None)
      if found is not None:
        pixels[k], is_whole[k] = found, True
    labels = np.array([self._codes[name] for _, name in read], np.int32)
    return pixels, labels, is_whole

  def _decode(
    self, number: int, record: Record, rng: np.random.Generator | None
  ) -> np.ndarray | None:
    """One image at its size; None for one that is skipped."""
    name, settings = self.records.name(number), self.settings
    stretched = self._size if settings.crop == "stretch" else None
    try:
      pixels = images.decode_image(
        record[0], name=name, image_size=stretched, channels=self._channels
      )
    except ValueError as error:
      if settings.on_corrupt == "stop":
        raise ValueError(
          f"{error} data.on_corrupt=skip leaves such images out."
        ) from error
      if number not in self._corrupt:
        self._corrupt.add(number)
        logging.getLogger("mdm").warning("skipped: %s", error)
      if self.num_corrupt == len(self):
        raise ValueError(
          f"none of {len(self)} images can be decoded; the last: {error}"
        ) from error
      return None
    shape = (pixels.shape[0], pixels.shape[1])
    if settings.image_size is None and shape != self._size:
      raise ValueError(
        f"image {name} has {shape} rows and columns where others have {self._size}; "
        "set data.image_size."
      )
    if rng is None:
      box = crops.middle_box(shape, self._size, settings.crop_share)
    else:
      box = crops.draw_box(rng, shape, settings.crop_scale, settings.crop_ratio)
    return crops.cut_and_scale(pixels, box, self._size)

  def _own_size(self, shape: Sequence[int | None]) -> tuple[int, int]:
    """Rows and columns as the data set has them, or as its first image."""
    rows, columns = shape
    if rows is not None and columns is not None:
      return rows, columns
    for number in self._numbers.tolist():
      [(content, _)] = self.records.read([number])
      try:
        return images.image_shape(content, self.records.name(number))
      except ValueError:
        if self.settings.on_corrupt == "stop":
          raise
    raise ValueError(f"none of {len(self)} images can be read; set another folder.")

  def _keeps(self) -> bool:
    """Whether pixels are decoded once and kept."""
    if self.settings.crop == "random":
      return False
    if self.settings.in_memory is not None:
      return self.settings.in_memory
    return len(self) * self._size[0] * self._size[1] * self._channels <= KEPT_BYTES

  def _leave_out(self) -> None:
    """Decodes all images that are kept, to know which of them are corrupt."""
    kept = self._kept
    assert kept is not None
    for first in range(0, len(self), CHUNK):
      self._read(np.arange(first, min(first + CHUNK, len(self))))
    if not kept.is_there.all():
      self._numbers = self._numbers[kept.is_there]
      self._kept = _Kept(*(part[kept.is_there] for part in kept))


class _Kept(NamedTuple):
  """Pixels and labels that stay once they are decoded, and which are there."""

  images: UInt8[np.ndarray, "b y x c"]
  labels: Int[np.ndarray, "b"]
  is_there: Bool[np.ndarray, "b"]

  @classmethod
  def empty(cls, count: int, shape: tuple[int, int, int]) -> "_Kept":
    """Room for so many; it takes memory as it fills."""
    pixels = np.zeros((count, *shape), np.uint8)
    return cls(pixels, np.zeros(count, np.int32), np.zeros(count, bool))
