"""Tokenizers: from text to ids 0 .. V-1 and back, kept as JSON beside the data set.

Four kinds: characters (characters.py), bytes, and files of the `tokenizers` library,
BPE or WordPiece, found or trained (library.py). A tokenizer knows nothing of MASK: the
id V is the network's.
"""

import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from mdm.data.text.ids import plain_ids
from mdm.data.text.settings import TOKENIZERS


@runtime_checkable
class Tokenizer(Protocol):
  """What data sets, samplers and tools ask of a tokenizer."""

  @property
  def vocab_size(self) -> int:
    """V; ids are 0 .. V-1."""
    ...

  @property
  def eos_id(self) -> int | None:
    """The id that ends a text; None where there is none."""
    ...

  @property
  def pad_id(self) -> int | None:
    """The id behind the end; None where there is none (0 is written, `valid` False)."""
    ...

  def normalize(self, text: str) -> str:
    """The text that is encoded: folded, where the tokenizer folds."""
    ...

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without EOS.

    Raises:
      ValueError: a character that the tokenizer does not know.
    """
    ...

  def encode_array(self, text: str) -> Int32[np.ndarray, "n"]:
    """The same as an array, quick for whole books."""
    ...

  def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The arrays of several texts; on all cores, where the tokenizer can."""
    ...

  def decode(self, ids: Sequence[int] | np.ndarray, *, hidden: str = "_") -> str:
    """The text of ids; EOS and PAD give nothing, ids V and up give `hidden` each."""
    ...

  def to_json(self) -> dict[str, Any]:
    """What `load_tokenizer` reads."""
    ...


class Bytes:
  """The 256 bytes of UTF-8, and EOS = 256 where it is wanted."""

  def __init__(self, *, has_eos: bool = False) -> None:
    self.vocab_size = 256 + has_eos
    self.eos_id = 256 if has_eos else None
    self.pad_id = None

  def normalize(self, text: str) -> str:
    """The text itself."""
    return text

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without EOS."""
    return list(text.encode())

  def encode_array(self, text: str) -> Int32[np.ndarray, "n"]:
    """The same as an array."""
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

  def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The arrays of several texts."""
    return [self.encode_array(text) for text in texts]

  def decode(self, ids: Sequence[int] | np.ndarray, *, hidden: str = "_") -> str:
    """The text; bytes that are no UTF-8 become the replacement character."""
    shown = hidden.encode()
    parts = [bytes([k]) if k < 256 else shown if k != self.eos_id else b""
             for k in plain_ids(ids)]  # fmt: skip
    return b"".join(parts).decode(errors="replace")

  def to_json(self) -> dict[str, Any]:
    """What `load_tokenizer` reads."""
    return {"kind": "bytes", "eos": self.eos_id is not None}


def make_tokenizer(
  name: str,
  texts: Callable[[], Iterable[str]],
  *,
  vocab_size: int,
  has_eos: bool,
) -> Tokenizer:
  """The tokenizer of a setting, learned from `texts()` where it must be.

  Args:
    name: "text8", "characters", "bytes", "bpe", or the path of a tokenizer file.
    texts: the corpus, called where characters or merges are learned.
    vocab_size: of a BPE that is trained here.
    has_eos: whether texts must be ended by an id of its own.

  Raises:
    ValueError: no such tokenizer; a file without an id that ends a text.
  """
  from mdm.data.text import characters, library

  if name == "bytes":
    return Bytes(has_eos=has_eos)
  if name == "text8":
    return characters.text8(has_eos=has_eos)
  if name == "characters":
    return characters.learn_characters(texts(), has_eos=has_eos)
  if name == "bpe":
    return library.train_bpe(texts(), vocab_size=vocab_size, has_eos=has_eos)
  found = load_tokenizer(name)
  if has_eos and found.eos_id is None:
    raise ValueError(
      f"data.tokenizer = {name!r} has no id that ends a text, which this data set "
      f"needs; choose another, or one built with data.eos = True."
    )
  return found


def save_tokenizer(tokenizer: Tokenizer, path: pathlib.Path) -> None:
  """Writes a tokenizer as JSON."""
  path.write_text(json.dumps(tokenizer.to_json(), ensure_ascii=False, indent=1))


def load_tokenizer(path: str | pathlib.Path) -> Tokenizer:
  """The tokenizer of a JSON file: one of ours, or one of the `tokenizers` library.

  Raises:
    ValueError: no such file or name, or a file of neither form.
  """
  from mdm.data.text import characters, library

  place = pathlib.Path(path).expanduser()
  if not place.is_file():
    raise ValueError(
      f"tokenizer {str(path)!r} is neither one of {', '.join(TOKENIZERS)} nor a file; "
      "give a known name or the path of a tokenizer.json."
    )
  try:
    content = json.loads(place.read_text("utf-8"))
    kind = content.get("kind", "library" if "model" in content else None)
    if kind == "bytes":
      return Bytes(has_eos=content["eos"])
    if kind == "characters":
      return characters.Characters(
        content["characters"], folding=content["folding"], has_eos=content["eos"]
      )
    if kind == "library":
      return library.LibraryTokenizer(content.get("file", content))
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{place} cannot be read as a tokenizer ({error}); restore it."
    ) from error
  raise ValueError(
    f"{place} is no tokenizer: it has neither 'kind' nor 'model'; give a file that mdm "
    "or the `tokenizers` library wrote."
  )
