"""The batch contract: names, dtypes and shapes of everything a pipeline may emit.

A batch is a flat dict of arrays. One table, used by every pipeline and every method.
Axis letters are those of the whole package: b batch, n tokens, y x rows and columns,
c channels, q questions, s samples of a sound, f frames of an encoder.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Entry(NamedTuple):
  """One array of a batch: its dtype, its axes, what it means."""

  dtype: str
  axes: str
  meaning: str


TABLE = {
  "image": Entry(
    "uint8", "b y x c", "pixels 0..255; c is 1 (grey) or 3 (red green blue)"
  ),
  "tokens": Entry(
    "int32",
    "b n",
    "ids of the data set's tokenizer; for word images of data/charset.py; for pixels "
    "0..255",
  ),
  "valid": Entry("bool", "b n", "real tokens, EOS included; False for padding"),
  "prompt": Entry("bool", "b n", "tokens that are given: never hidden, in no loss"),
  "segments": Entry(
    "int32", "b n", "number of each token's document, where several are packed in a row"
  ),
  "places": Entry("int32", "b q", "positions at which something is asked for"),
  "answers": Entry("int32", "b q", "what is due at each of them"),
  "audio": Entry(
    "float32", "b s", "samples of one channel in [-1, 1]; exactly 0 behind the end"
  ),
  "audio_length": Entry("int32", "b", "how many of them are real"),
  "confidence": Entry(
    "float32", "b f", "how sure a recogniser is of each frame, in [0, 1]"
  ),
  "label": Entry("int32", "b", "class, numbered from 0"),
  "index": Entry(
    "int32", "b", "place in the training stream; in evaluation the record"
  ),
  "weight": Entry(
    "float32", "b", "1 for a real example, 0 for padding of a last batch"
  ),
}
ALWAYS = ("index", "weight")


def check_batch(batch: Mapping[str, Any]) -> None:
  """Checks names, dtypes, ranks and that equal letters have equal lengths.

  Raises:
    ValueError: naming the first entry that breaks the table, and the rule.
  """
  missing = [name for name in ALWAYS if name not in batch]
  if missing:
    raise ValueError(f"batch lacks {missing}; every batch holds {list(ALWAYS)}.")
  lengths: dict[str, int] = {}
  for name, array in batch.items():
    if name not in TABLE:
      raise ValueError(
        f"batch entry {name!r} is not in the table of mdm/data/batch.py, which has "
        f"{list(TABLE)}; rename it or add a line to the table."
      )
    _check_entry(name, array, lengths)


def _check_entry(name: str, array: Any, lengths: dict[str, int]) -> None:
  """Checks one array against its line; `lengths` collects what letters stand for."""
  entry = TABLE[name]
  axes = entry.axes.split()
  if str(array.dtype) != entry.dtype:
    raise ValueError(
      f"batch entry {name!r} has dtype {array.dtype}; the table says {entry.dtype}."
    )
  if array.ndim != len(axes):
    raise ValueError(
      f"batch entry {name!r} has shape {array.shape}; the table says [{entry.axes}]."
    )
  for letter, length in zip(axes, array.shape, strict=True):
    if lengths.setdefault(letter, length) != length:
      raise ValueError(
        f"batch entry {name!r} has {length} along {letter!r} where an earlier entry "
        f"has {lengths[letter]}; every entry holds the same examples."
      )
