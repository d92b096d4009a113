"""Numbered records of encoded images with their texts: from TFDS or from a folder."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mdm.data import building, images
from mdm.data.settings import DataSettings, WordSettings

Record = tuple[bytes, str]  # encoded image, text


@runtime_checkable
class Records(Protocol):
  """What a data set reads from."""

  def __len__(self) -> int: ...

  def read(self, indices: Sequence[int]) -> list[Record]:
    """The records of these numbers, in their order."""
    ...

  def name(self, index: int) -> str:
    """What an error or a report calls a record."""
    ...


def open_records(settings: WordSettings, split: str) -> Records:
  """The records of a split.

  Raises:
    ValueError: an unknown name or split, a data set that is not built or is damaged.
  """
  if settings.name == "folder":
    return FolderRecords(settings)
  return TfdsRecords(settings, split)


def read_all(records: Records, chunk: int = 1024) -> Iterator[Record]:
  """Every record, front to back."""
  for first in range(0, len(records), chunk):
    yield from records.read(range(first, min(first + chunk, len(records))))


class TfdsRecords:
  """A split of a built data set; "a+b" joins two splits."""

  def __init__(self, settings: DataSettings, split: str) -> None:
    builder = building.open_builder(settings)
    import tensorflow_datasets as tfds

    unknown = [part for part in split.split("+") if part not in builder.info.splits]
    if unknown:
      raise ValueError(
        f"data set {settings.name!r} has no split {unknown[0]!r}; it has "
        f"{', '.join(builder.info.splits)}."
      )
    self.info = builder.info
    self._folder = str(builder.data_path)
    self._command = settings.build_command(force=True)
    self._split = split
    decoders = {"image": tfds.decode.SkipDecoding()}
    self._source: Any = builder.as_data_source(split, decoders=decoders)

  def __len__(self) -> int:
    return len(self._source)

  def read(self, indices: Sequence[int]) -> list[Record]:
    """The records of these numbers, in their order.

    Raises:
      ValueError: a file of the data set turned out to be damaged.
    """
    try:
      found = self._source.__getitems__([int(k) for k in indices])
      return [(bytes(r["image"]), self._caption(r)) for r in found]
    except Exception as error:  # the reader's exceptions have no common class
      raise ValueError(
        f"data files in {self._folder} cannot be read ({error}); rebuild them with "
        f"`{self._command}`."
      ) from error

  def _caption(self, record: Mapping[str, Any]) -> str:
    """A record's text, or the name of its class."""
    if "text" in record:
      return record["text"].decode("utf-8")
    return self.info.features["label"].int2str(int(record["label"]))

  def name(self, index: int) -> str:
    """Split and number."""
    return f"{self._folder}:{self._split}[{index}]"


class FolderRecords:
  """Images of a folder in the order of their names, with texts from a labels file.

  Without labels every text is empty: the images can be read, not scored.
  """

  def __init__(self, settings: WordSettings) -> None:
    if (
      settings.folder is None or not pathlib.Path(settings.folder).expanduser().is_dir()
    ):
      raise ValueError(
        f"data.folder = {settings.folder!r} is no folder; set it to one with images."
      )
    folder = pathlib.Path(settings.folder).expanduser()
    default = folder / "labels.txt"
    labels = pathlib.Path(settings.labels).expanduser() if settings.labels else default
    if settings.labels and not labels.is_file():
      raise ValueError(f"data.labels = {settings.labels!r} does not exist; correct it.")
    if labels.is_file():
      rows = _read_labels(labels, folder)
    else:
      rows = [
        (path, "")
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in images.SUFFIXES
      ]
    if not rows:
      raise ValueError(
        f"data.folder = {settings.folder!r} holds no image "
        f"({', '.join(images.SUFFIXES)}); choose another folder."
      )
    self._rows = rows

  def __len__(self) -> int:
    return len(self._rows)

  def read(self, indices: Sequence[int]) -> list[Record]:
    """The records of these numbers, in their order."""
    rows = [self._rows[k] for k in indices]
    return [(path.read_bytes(), text) for path, text in rows]

  def name(self, index: int) -> str:
    """The path."""
    return str(self._rows[index][0])


def _read_labels(labels: pathlib.Path, folder: pathlib.Path) -> list[tuple[Any, str]]:
  """`(path, text)` of each line "NAME TEXT", parted by a tab or the first space.

  Raises:
    ValueError: a line without a text, or the name of a file that is not there.
  """
  rows = []
  for number, line in enumerate(labels.read_text("utf-8").splitlines(), 1):
    if not line.strip():
      continue
    name, _, text = line.strip().partition("\t" if "\t" in line else " ")
    path = folder / name
    if not text.strip() or not path.is_file():
      what = "has no text" if path.is_file() else f"names {name!r}, which is not there"
      raise ValueError(f"{labels}, line {number} {what}; write 'NAME TEXT'.")
    rows.append((path, text.strip()))
  return rows
