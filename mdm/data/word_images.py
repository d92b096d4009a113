"""Images of words with their texts: one split, as the pipeline reads it.

A data set hands out records (an image as pixels and its text) and, for the pipeline,
arrays of many examples at once.
"""

import collections
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from mdm.data import building, images
from mdm.data.augment import augment
from mdm.data.charset import Charset
from mdm.data.randaugment import randaugment
from mdm.data.records import Records, open_records, read_all
from mdm.data.settings import WordSettings

KEPT_BYTES = 1 << 30  # data sets up to this size are decoded once and kept


def prepare(
  settings: WordSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  if settings.name == "folder":
    open_records(settings, "")
    return pathlib.Path(str(settings.folder))
  return building.prepare(
    settings, force=force, progress=progress, num_workers=num_workers
  )


def count_examples(settings: WordSettings) -> dict[str, int]:
  """Examples of each split of a data set that is built, without reading them."""
  if settings.name == "folder":
    return {"all": len(load(settings, ""))}
  splits = building.open_builder(settings).info.splits
  return {name: int(split.num_examples) for name, split in splits.items()}


def load(settings: WordSettings, split: str) -> "WordImages":
  """The words of a split."""
  return WordImages(open_records(settings, split), settings, split)


class WordImages:
  """Records of one split that fit charset and canvas, numbered from 0.

  A training split drops records without a known character or longer than the canvas,
  as the paper does; `num_dropped` counts them. Other splits drop nothing that has a
  text of its own: what does not fit is shown, cannot be read right, and counts.
  """

  def __init__(self, records: Records, settings: WordSettings, split: str) -> None:
    self.records, self.settings, self.split = records, settings, split
    self.charset = Charset(settings.charset)
    self._size = (settings.image_size[0], settings.image_size[1])
    self._texts: list[str] | None = None
    self._images: np.ndarray | None = None
    self._decoded: dict[int, np.ndarray] | None = None
    self._shapes: np.ndarray | None = None
    self._numbers = np.arange(len(records))
    if settings.name != "rendered_words" or settings.buckets:
      self._scan()
    self.num_dropped = len(records) - len(self._numbers)
    if self._keeps():
      self._keep()

  def __len__(self) -> int:
    return len(self._numbers)

  @property
  def image_shape(self) -> tuple[int, int, int] | None:
    """Rows, columns, channels; None where they differ by bucket."""
    return None if self.settings.buckets else (*self._size, self.settings.channels)

  @property
  def shapes(self) -> Int[np.ndarray, "n 2"] | None:
    """Rows and columns of each record's bucket; None without buckets."""
    return self._shapes

  @property
  def is_in_memory(self) -> bool:
    """Whether a batch is a copy of pixels that are there already, or nearly so."""
    kept = self._images is not None or self._decoded is not None
    return kept and not (self.settings.augment or self.settings.randaugment)

  def facts(self) -> dict[str, int]:
    """What a method must agree with."""
    return {
      "num_characters": self.charset.num_characters,
      "canvas": self.settings.canvas,
    }

  def describe(self) -> dict[str, Any]:
    """Counts and sizes for a report, and what the builder noted."""
    found: dict[str, Any] = {
      "name": self.settings.name,
      "split": self.split,
      "num_examples": len(self),
      "num_dropped": self.num_dropped,
      "charset": self.settings.charset,
      "channels": self.settings.channels,
      **self.facts(),
    }
    if self._shapes is None:
      found["image_size"] = list(self._size)
    else:
      counts = collections.Counter(
        f"{rows}x{columns}" for rows, columns in self._shapes
      )
      found["buckets"] = dict(sorted(counts.items()))
    info = getattr(self.records, "info", None)
    return found | dict(getattr(info, "metadata", None) or {})

  def record(self, index: int) -> dict[str, Any]:
    """Image [y x c] of uint8, text and name of one record."""
    number = int(self._numbers[index])
    return {
      "image": self._pixels([index])[0],
      "text": self.text(index),
      "name": self.records.name(number),
    }

  def text(self, index: int) -> str:
    """The text as it was written."""
    if self._texts is not None:
      return self._texts[index]
    return self.records.read([int(self._numbers[index])])[0][1]

  def fetch(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Image, tokens and valid of examples that have one shape."""
    if self._images is not None:
      return {
        "image": self._images[indices],
        "tokens": self._tokens[indices],
        "valid": self._valid[indices],
      }
    wanted = indices.tolist()
    if self._texts is None:
      read = self.records.read([int(self._numbers[k]) for k in wanted])
      pixels = [self._decode(*pair) for pair in zip(wanted, read, strict=True)]
      texts = [text for _, text in read]
    else:
      pixels, texts = self._pixels(wanted), [self._texts[k] for k in wanted]
    tokens, valid = self._encode(texts)
    return {"image": np.stack(pixels), "tokens": tokens, "valid": valid}

  def draw(
    self, indices: Int[np.ndarray, "b"], places: Int[np.ndarray, "b"], seed: int
  ) -> dict[str, np.ndarray]:
    """The same for training: images are changed by their places in the stream."""
    if self.settings.randaugment:
      found = self._draw_operations(indices, places, seed)
    else:
      found = self.fetch(indices)
    strength = self.settings.augment
    found["image"] = augment(found["image"], places, seed=seed, strength=strength)
    return found

  def _draw_operations(
    self, indices: np.ndarray, places: np.ndarray, seed: int
  ) -> dict[str, np.ndarray]:
    """Images under RandAugment as their files have them, and stretched only then."""
    settings, numbers = self.settings, self._numbers[indices].tolist()
    read = self.records.read(numbers)
    pixels = [
      images.decode_image(
        content, name=self.records.name(number), channels=settings.channels
      )
      for number, (content, _) in zip(numbers, read, strict=True)
    ]
    sizes = [self._size_of(k) for k in indices.tolist()]
    changed = randaugment(
      pixels,
      places,
      seed=seed,
      magnitude=settings.randaugment,
      num_ops=settings.randaugment_ops,
      ratios=[x // y for y, x in sizes] if settings.buckets else None,
    )
    fitted = [
      images.fit_pixels(image, size, settings.channels)
      for image, size in zip(changed, sizes, strict=True)
    ]
    tokens, valid = self._encode([text for _, text in read])
    return {"image": np.stack(fitted), "tokens": tokens, "valid": valid}

  def _size_of(self, index: int) -> tuple[int, int]:
    """Rows and columns that an example is stretched to."""
    if self._shapes is None:
      return self._size
    return int(self._shapes[index, 0]), int(self._shapes[index, 1])

  def _scan(self) -> None:
    """Reads all texts, and shapes where there are buckets; drops what does not fit."""
    texts, shapes, numbers = [], [], []
    drops = self.split.startswith("train")
    for number, (content, text) in enumerate(read_all(self.records)):
      if drops and not self.charset.fits(text, self.settings.canvas):
        continue
      if self.settings.buckets:
        rows, columns = images.image_shape(content, self.records.name(number))
        shapes.append(images.bucket_size(columns, rows))
      texts.append(text)
      numbers.append(number)
    if not numbers:
      raise ValueError(
        f"data set {self.settings.name!r}, split {self.split!r}: none of "
        f"{len(self.records)} texts fits charset {self.settings.charset!r} and canvas "
        f"{self.settings.canvas}; change data.charset or data.canvas."
      )
    self._texts, self._numbers = texts, np.array(numbers)
    self._shapes = np.array(shapes) if self.settings.buckets else None

  def _keeps(self) -> bool:
    """Whether pixels are decoded once and kept."""
    if self.settings.in_memory is not None:
      return self.settings.in_memory
    pixels = 4096 if self.settings.buckets else self._size[0] * self._size[1]
    return len(self) * pixels * self.settings.channels <= KEPT_BYTES

  def _keep(self) -> None:
    """Decodes into one array; images of several shapes are decoded when first read."""
    if self.settings.buckets:
      self._decoded = {}
      return
    shape = (len(self), *self._size, self.settings.channels)
    self._images, texts = np.empty(shape, np.uint8), []
    for first in range(0, len(self), 1024):
      chunk = range(first, min(first + 1024, len(self)))
      read = self.records.read([int(self._numbers[k]) for k in chunk])
      for index, record in zip(chunk, read, strict=True):
        self._images[index] = self._decode(index, record)
        texts.append(record[1])
    self._texts = texts
    self._tokens, self._valid = self._encode(texts)

  def _pixels(self, indices: Sequence[int]) -> list[np.ndarray]:
    """Images of examples, from what is kept where it is."""
    if self._images is not None:
      return [self._images[k] for k in indices]
    kept = self._decoded if self._decoded is not None else {}
    missing = [k for k in indices if k not in kept]
    read = self.records.read([int(self._numbers[k]) for k in missing])
    found = {k: self._decode(k, r) for k, r in zip(missing, read, strict=True)}
    if self._decoded is not None:
      self._decoded.update(found)
    return [kept[k] if k in kept else found[k] for k in indices]

  def _decode(self, index: int, record: tuple[bytes, str]) -> np.ndarray:
    return images.decode_image(
      record[0],
      name=self.records.name(int(self._numbers[index])),
      image_size=self._size_of(index),
      channels=self.settings.channels,
    )

  def _encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and valid of texts; one that does not fit is all padding."""
    canvas = self.settings.canvas
    tokens = np.full((len(texts), canvas), self.charset.pad_id, np.int32)
    valid = np.zeros((len(texts), canvas), bool)
    for row, text in enumerate(texts):
      if self.charset.fits(text, canvas):
        tokens[row], valid[row] = self.charset.encode(text, canvas)
    return tokens, valid
