"""Token arrays on disk: built once, whole or not at all, memory-mapped when read.

A folder holds one plain `.npy` array of ids per split, in the smallest unsigned type,
with `tokenizer.json`, `info.json` and the manifest of building.py. Not ArrayRecord: a
window may begin at any token, so a file of records would be read two records for one;
an array gives any window by its address, in any process, without an index or a decoder.
"""

import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdm.data import building
from mdm.data.text.settings import TokenSettings
from mdm.data.text.tokenizers import Tokenizer, load_tokenizer, save_tokenizer

INFO, TOKENIZER = "info.json", "tokenizer.json"


class Built(NamedTuple):
  """What a data set consists of.

  Attributes:
    tokenizer: that made the ids.
    arrays: by file name, as "train.tokens".
    info: facts for a report.
  """

  tokenizer: Tokenizer
  arrays: Mapping[str, np.ndarray]
  info: Mapping[str, Any]


def prepare_folder(
  settings: TokenSettings,
  sources: Callable[[], Sequence[pathlib.Path]],
  make: Callable[[], Built],
  *,
  force: bool = False,
) -> pathlib.Path:
  """Builds a data set unless it is there and its sources are as they were.

  Args:
    sources: the user's files that it is made from; they may be gone later.
    make: reads and encodes them.
    force: build it anew.

  Raises:
    FileNotFoundError, ValueError: what it is built from is missing or unreadable.
  """
  folder = settings.folder()
  with building.lock(folder.parent):
    is_there = (folder / INFO).is_file()
    if is_there and not force and not _has_changed(settings, sources, folder):
      return folder
    aside = folder.with_name(f".{folder.name}.incomplete")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    built = make()
    for name, array in built.arrays.items():
      np.save(aside / f"{name}.npy", array)
    save_tokenizer(built.tokenizer, aside / TOKENIZER)
    info = dict(built.info) | {"sources": _checksums(settings, sources())}
    (aside / INFO).write_text(json.dumps(info, indent=1, ensure_ascii=False))
    building.write_manifest(aside)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
  return folder


def open_folder(settings: TokenSettings) -> pathlib.Path:
  """The folder of a data set that is there and whole.

  Raises:
    ValueError: it is not built yet, or a file of it is damaged.
  """
  folder = settings.folder()
  if not folder.is_dir():
    raise ValueError(
      f"data set {folder} is not built; run `{settings.build_command()}`."
    )
  building.check_files(folder, settings.build_command(force=True))
  return folder


def open_array(folder: pathlib.Path, name: str) -> np.ndarray:
  """An array of a folder, mapped and not read."""
  return np.load(folder / f"{name}.npy", mmap_mode="r")


def check_split(settings: TokenSettings, folder: pathlib.Path, split: str) -> None:
  """Raises ValueError for a split that a data set does not have."""
  known = list(read_info(folder)["splits"])
  if split not in known:
    raise ValueError(
      f"data set {settings.name!r} has no split {split!r}; it has {', '.join(known)}."
    )


def read_info(folder: pathlib.Path) -> dict[str, Any]:
  """What the builder noted."""
  return json.loads((folder / INFO).read_text())


def open_tokenizer(settings: TokenSettings) -> Tokenizer:
  """The tokenizer of a data set; a fixed one needs no data.

  Raises:
    ValueError: it was learned from data that is not built, or its file is damaged.
  """
  if settings.tokenizer in ("bytes", "text8"):
    from mdm.data.text.tokenizers import make_tokenizer

    return make_tokenizer(
      settings.tokenizer, list, vocab_size=0, has_eos=settings.needs_eos
    )
  place = settings.folder() / TOKENIZER
  if not place.is_file():
    raise ValueError(f"{place} is not there; run `{settings.build_command()}`.")
  return load_tokenizer(place)


def pack(ids: np.ndarray, vocab_size: int) -> np.ndarray:
  """Ids in the smallest unsigned type that holds the vocabulary."""
  return ids.astype(np.min_scalar_type(vocab_size - 1))


def _has_changed(
  settings: TokenSettings,
  sources: Callable[[], Sequence[pathlib.Path]],
  folder: pathlib.Path,
) -> bool:
  """Whether the files that a data set was made from are there and now others."""
  try:
    found = sources()
    return bool(found) and (_checksums(settings, found) != read_info(folder)["sources"])
  except FileNotFoundError:
    return False
  except (ValueError, KeyError):  # an unreadable info file
    return True


def _checksums(
  settings: TokenSettings, sources: Sequence[pathlib.Path]
) -> dict[str, int]:
  """Checksums of the user's files, a tokenizer's among them."""
  files = [*sources, pathlib.Path(settings.tokenizer).expanduser()]
  return {str(p): building.checksum(p) for p in files if p.is_file()}
