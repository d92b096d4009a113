"""Any folder of images, CLASS/*.jpg or train/CLASS/*.jpg, read where it lies.

One that holds images alone is of one class, by its own name.

A folder with `train/CLASS` may have `validation/CLASS` (or `val/CLASS`) and
`test/CLASS` beside it. Without a validation part a tenth of the training images of each
class, and at least one, is held out by the hash of their paths.
"""

import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdm.data import images
from mdm.data.held_out import choose_share
from mdm.data.records import Record

PARTS = {"train": "train", "validation": "validation", "val": "validation",
         "test": "test"}  # fmt: skip
VALIDATION_SHARE = 0.1


class Listing(NamedTuple):
  """What a folder has.

  Attributes:
    folder: its place.
    classes: names, in the order of labels.
    splits: paths below the folder, parted by "/".
    depth: which part of a path names the class.
  """

  folder: pathlib.Path
  classes: tuple[str, ...]
  splits: dict[str, list[str]]
  depth: int


class FolderImages:
  """Images of some paths below a folder, with the names of the folders they lie in."""

  def __init__(self, folder: pathlib.Path, paths: Sequence[str], depth: int) -> None:
    self.folder, self.paths = folder, paths
    self._depth = depth

  def __len__(self) -> int:
    return len(self.paths)

  def read(self, indices: Sequence[int]) -> list[Record]:
    """Encoded images and classes, in the order of the numbers."""
    return [
      ((self.folder / self.paths[k]).read_bytes(), self.class_of(k)) for k in indices
    ]

  def class_of(self, index: int) -> str:
    """The class, without reading the image."""
    return self.paths[index].split("/")[self._depth]

  def name(self, index: int) -> str:
    """The path."""
    return str(self.folder / self.paths[index])


def list_folder(folder: str | None) -> Listing:
  """The images of a folder by split, in the order of their paths.

  Raises:
    ValueError: no such folder, none of classes in it, a class without an image or with
      a single one that would have to be held out, a class that training lacks.
  """
  root = pathlib.Path(folder or "").expanduser()
  if folder is None or not root.is_dir():
    raise ValueError(
      f"data.folder = {folder!r} is no folder; set it to one with a folder of images "
      "per class."
    )
  if not _subfolders(root) and (names := _list_images(root)):
    root = root.resolve()
    found = {root.name: [f"{root.name}/{name}" for name in names]}
    return Listing(root.parent, tuple(found), _hold_out(root.parent, found), 0)
  if not _subfolders(root / "train"):
    found = _list_classes(root)
    return Listing(root, tuple(found), _hold_out(root, found), 0)
  parts = {
    split: _list_classes(root / name, f"{name}/")
    for name, split in PARTS.items()
    if (root / name).is_dir()
  }
  classes = tuple(parts["train"])
  for split, found in parts.items():
    if unknown := [name for name in found if name not in classes]:
      raise ValueError(
        f"{root} has images of {unknown[0]!r} in its {split} part and none in train; "
        "remove the folder or add training images."
      )
  splits = {
    split: list(itertools.chain(*found.values())) for split, found in parts.items()
  }
  if "validation" not in splits:
    splits |= _hold_out(root / "train", parts["train"])
  return Listing(root, classes, splits, 1)


def _list_classes(place: pathlib.Path, prefix: str = "") -> dict[str, list[str]]:
  """Sorted paths of the images of each class, below `place` and after `prefix`."""
  names = _subfolders(place)
  if not names:
    raise ValueError(
      f"{place} has no folder of images in it; put the images into a folder per class, "
      f"as {place / 'cat' / '1.jpg'}."
    )
  found = {}
  for name in names:
    paths = []
    for where, _, files in os.walk(place / name):
      folder = pathlib.Path(where).relative_to(place).as_posix()
      kept = [file for file in files if file.lower().endswith(images.SUFFIXES)]
      paths += [f"{prefix}{folder}/{file}" for file in kept]
    found[name] = sorted(paths)
    if not found[name]:
      raise ValueError(
        f"class folder {place / name} holds no image ({', '.join(images.SUFFIXES)}); "
        "add some or remove the folder."
      )
  return found


def _list_images(place: pathlib.Path) -> list[str]:
  """Names of the images that lie in a folder itself, sorted."""
  return sorted(
    p.name for p in place.iterdir() if p.name.lower().endswith(images.SUFFIXES)
  )


def _hold_out(place: pathlib.Path, found: dict[str, list[str]]) -> dict[str, list[str]]:
  """Training and validation parts of the images of each class."""
  lonely = [name for name, paths in found.items() if len(paths) == 1]
  if lonely:
    raise ValueError(
      f"class folder {place / lonely[0]} has one image, which cannot be both trained "
      f"on and held out ({len(lonely)} such); add images, or make a validation folder."
    )
  paths = _join(found)
  groups = np.repeat(np.arange(len(found)), [len(part) for part in found.values()])
  held = choose_share(paths, groups, share=VALIDATION_SHARE)
  return {
    "train": [path for path, h in zip(paths, held, strict=True) if not h],
    "validation": [path for path, h in zip(paths, held, strict=True) if h],
  }


def _join(found: dict[str, list[str]]) -> list[str]:
  """The images of all classes."""
  return list(itertools.chain(*found.values()))


def _subfolders(place: pathlib.Path) -> list[str]:
  """Names of the folders in a folder, sorted; none of a folder that is not there."""
  if not place.is_dir():
    return []
  return sorted(
    p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith(".")
  )
