"""Token arrays on disk: built once, whole or not at all, memory-mapped when read.

A folder holds the ids of each split one after the other, as plain numbers of the
smallest unsigned type, with `tokenizer.json`, `info.json` and the manifest of
building.py. Not ArrayRecord: a window may begin at any token, so for one window two
records would be read; an array gives any window by its address, in any process, without
an index or a decoder.
"""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt

from mdm.data import building
from mdm.data.text.settings import TokenSettings
from mdm.data.text.tokenizers import Tokenizer, load_tokenizer, save_tokenizer

INFO, TOKENIZER = "info.json", "tokenizer.json"


class Built(NamedTuple):
  """What a builder hands back beside the ids that it wrote.

  Attributes:
    tokenizer: that made the ids.
    splits: of each split, facts for a report.
  """

  tokenizer: Tokenizer
  splits: Mapping[str, Mapping[str, Any]]


def prepare_folder(
  settings: TokenSettings,
  sources: Callable[[], Sequence[pathlib.Path]],
  make: Callable[[pathlib.Path], Built],
  *,
  force: bool = False,
) -> pathlib.Path:
  """Builds a data set unless it is there and its sources are as they were.

  Args:
    sources: the user's files that it is made from; they may be gone later.
    make: reads and encodes them, and writes ids into the folder it is given.
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
    built = make(aside)
    save_tokenizer(built.tokenizer, aside / TOKENIZER)
    info = {
      "dtype": str(_dtype(built.tokenizer.vocab_size)),
      "splits": built.splits,
      "sources": _checksums(settings, sources()),
    }
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


def write_tokens(
  folder: pathlib.Path,
  split: str,
  vocab_size: int,
  pieces: Iterable[Int[np.ndarray, "_"]],
) -> int:
  """Appends ids to the file of a split; returns how many there are.

  Raises:
    ValueError: there are none.
  """
  count, dtype = 0, _dtype(vocab_size)
  with (folder / f"{split}.tokens").open("wb") as file:
    for piece in pieces:
      file.write(piece.astype(dtype).tobytes())
      count += len(piece)
  if not count:
    raise ValueError(f"split {split!r} has no token; give more text.")
  return count


def open_tokens(folder: pathlib.Path, split: str) -> UInt[np.ndarray, "n"]:
  """All ids of a split, mapped and not read."""
  return np.memmap(folder / f"{split}.tokens", read_info(folder)["dtype"], mode="r")


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


def _dtype(vocab_size: int) -> np.dtype:
  """The smallest unsigned type, low byte first, that holds the vocabulary."""
  return np.min_scalar_type(vocab_size - 1).newbyteorder("<")


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
