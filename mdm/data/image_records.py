"""Where images with classes come from: built data sets, those of TFDS, and folders.

A data set of TFDS without a validation split has a tenth of its training images held
out, by the hash of their numbers.
"""

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mdm.data import building
from mdm.data.held_out import choose_share, is_held_out
from mdm.data.image_folders import FolderImages, list_folder
from mdm.data.image_settings import ImageSettings
from mdm.data.records import Records, TfdsRecords, read_all

HELD_OUT = "validation"


class Source(NamedTuple):
  """The examples of a split.

  Attributes:
    records: encoded images with the names of their classes.
    numbers: which records, in order.
    classes: names, by label.
    shape: rows, columns and channels of every image; None where they differ.
  """

  records: Records
  numbers: Int[np.ndarray, "n"]
  classes: tuple[str, ...]
  shape: tuple[int | None, int | None, int | None]


def open_source(settings: ImageSettings, split: str) -> Source:
  """The examples of a split; "a+b" joins two.

  Raises:
    ValueError: no such split, or a data set that is not built, is damaged, or is none
      of images with classes; a folder without them.
  """
  opens = _open_folder if settings.name == "images" else _open_built
  source = opens(settings, split)
  if split == "train" and settings.label_share < 1:
    return source._replace(numbers=_share(source, settings))
  return source


def count_examples(settings: ImageSettings) -> dict[str, int]:
  """Examples of each split."""
  if settings.name == "images":
    sizes = {k: len(v) for k, v in list_folder(settings.folder).splits.items()}
  else:
    splits = building.open_builder(settings).info.splits
    sizes = {name: int(split.num_examples) for name, split in splits.items()}
  if _holds_out(settings, sizes):
    parts = _numbers(["train"], sizes), _numbers([HELD_OUT], sizes)
    sizes |= {"train": len(parts[0]), HELD_OUT: len(parts[1])}
  if settings.label_share < 1 and "train" in sizes:
    sizes["train"] = len(open_source(settings, "train").numbers)
  return sizes


class ClassRecords(TfdsRecords):
  """A split of a built data set, whose texts are the names of classes."""

  def __init__(self, settings: ImageSettings, split: str) -> None:
    super().__init__(settings, split)
    features = self.info.features
    if not {"image", "label"} <= set(features) or not hasattr(
      features["label"], "names"
    ):
      raise ValueError(
        f"data set {self.info.name!r} has {', '.join(features)}, not an image and a "
        "label; choose one of images with classes."
      )

  def _caption(self, record: Mapping[str, Any]) -> str:
    """The name of a record's class."""
    return self.info.features["label"].int2str(int(record["label"]))


def _open_built(settings: ImageSettings, split: str) -> Source:
  """The examples of a split of a built data set."""
  splits = building.make_builder(settings).info.splits
  parts = split.split("+")
  if _holds_out(settings, splits):
    native = list(dict.fromkeys("train" if p == HELD_OUT else p for p in parts))
    records = ClassRecords(settings, "+".join(native))
    sizes = {name: int(splits[name].num_examples) for name in native}
    return _source(records, _numbers(parts, sizes))
  records = ClassRecords(settings, split)
  return _source(records, np.arange(len(records)))


def _open_folder(settings: ImageSettings, split: str) -> Source:
  """The examples of a split of a folder."""
  found = list_folder(settings.folder)
  parts = split.split("+")
  if unknown := [part for part in parts if part not in found.splits]:
    raise ValueError(
      f"{found.folder} has no split {unknown[0]!r}; it has {', '.join(found.splits)}."
    )
  paths = list(itertools.chain(*(found.splits[part] for part in parts)))
  records = FolderImages(found.folder, paths, found.depth)
  return Source(records, np.arange(len(paths)), found.classes, (None, None, None))


def _holds_out(settings: ImageSettings, splits: Container[str]) -> bool:
  """Whether the validation split is a part of a published training split."""
  return settings.name == "tfds" and "train" in splits and HELD_OUT not in splits


def _numbers(parts: Sequence[str], sizes: Mapping[str, int]) -> np.ndarray:
  """Numbers of the records of parts, in splits of these sizes put end to end."""
  starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
  held = np.array([is_held_out(str(k)) for k in range(sizes.get("train", 0))], bool)
  rows = {name: start + np.arange(sizes[name]) for name, start in starts.items()}
  train = rows.get("train", held)
  rows |= {"train": train[~held], HELD_OUT: train[held]}
  return np.concatenate([rows[part] for part in parts])


def _source(records: ClassRecords, numbers: np.ndarray) -> Source:
  """Classes and shape as the data set's features have them."""
  features = records.info.features
  rows, columns, channels = features["image"].shape
  return Source(
    records, numbers, tuple(features["label"].names), (rows, columns, channels)
  )


def _share(source: Source, settings: ImageSettings) -> np.ndarray:
  """The numbers of the share of each class that is used."""
  codes = {name: label for label, name in enumerate(source.classes)}
  records = source.records
  if isinstance(records, FolderImages):
    names = [records.paths[k] for k in source.numbers]
    classes = [records.class_of(k) for k in source.numbers]
  else:
    names = [str(k) for k in source.numbers]
    every = [name for _, name in read_all(records)]
    classes = [every[k] for k in source.numbers]
  chosen = choose_share(
    names,
    np.array([codes[name] for name in classes]),
    share=settings.label_share,
    seed=settings.label_seed,
  )
  return source.numbers[chosen]
