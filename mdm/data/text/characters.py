"""Characters as tokens: a fixed set, or the characters that a corpus has.

"text8" is the 27 symbols of the compression benchmark: 0 the space, 1..26 the letters
a-z. Its text is folded as there: lower case, digits spelled out ("4" is " four "),
every run of anything else one space.

Source: Large text compression benchmark, Mahoney, 2011, appendix A (text8).
"""

import re
import string
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from mdm.data.text.ids import plain_ids

TEXT8 = " " + string.ascii_lowercase
DIGITS = (
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
)
SHOWN = 10  # unknown characters that an error lists


class Characters:
  """An ordered set of characters; EOS is one id behind them where it is wanted.

  Args:
    characters: each once; its place is its id.
    folding: "text8" folds texts before they are encoded; "" takes them as they are.
  """

  def __init__(
    self, characters: str, *, folding: str = "", has_eos: bool = False
  ) -> None:
    if not characters or len(set(characters)) < len(characters):
      raise ValueError("a character set holds each character once, and at least one")
    if folding not in ("", "text8"):
      raise ValueError(f"folding {folding!r} is not 'text8' or ''")
    self.characters, self.folding = characters, folding
    self.vocab_size = len(characters) + has_eos
    self.eos_id = len(characters) if has_eos else None
    self.pad_id = None
    codes = _codes(characters)
    self._ranks = np.argsort(codes).astype(np.int32)
    self._sorted = codes[self._ranks]

  def normalize(self, text: str) -> str:
    """The text that is encoded, and that `decode` gives back: folded, if asked."""
    return fold_text8(text) if self.folding else text

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without EOS.

    Raises:
      ValueError: naming the characters that are not in the set.
    """
    return self.encode_array(text).tolist()

  def encode_array(self, text: str) -> Int32[np.ndarray, "n"]:
    """The same as an array."""
    codes = _codes(self.normalize(text))
    places = np.searchsorted(self._sorted, codes).clip(max=len(self._sorted) - 1)
    unknown = self._sorted[places] != codes
    if unknown.any():
      where = int(np.argmax(unknown))
      found = [chr(c) for c in np.unique(codes[unknown])]
      more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
      raise ValueError(
        f"text has characters that the tokenizer of {len(self.characters)} characters "
        f"does not know: {found[:SHOWN]}{more}, first at position {where}; remove them "
        "or choose a tokenizer that has them (bytes has all)."
      )
    return self._ranks[places]

  def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The arrays of several texts."""
    return [self.encode_array(text) for text in texts]

  def decode(self, ids: Sequence[int] | np.ndarray, *, hidden: str = "_") -> str:
    """The text of ids; EOS gives nothing, ids V and up give `hidden` each."""
    known = len(self.characters)
    return "".join(
      self.characters[k] if k < known else "" if k == self.eos_id else hidden
      for k in plain_ids(ids)
    )

  def to_json(self) -> dict[str, Any]:
    """What `load_tokenizer` reads."""
    return {
      "kind": "characters",
      "characters": self.characters,
      "folding": self.folding,
      "eos": self.eos_id is not None,
    }


def text8(*, has_eos: bool = False) -> Characters:
  """The 27 symbols of text8."""
  return Characters(TEXT8, folding="text8", has_eos=has_eos)


def learn_characters(texts: Iterable[str], *, has_eos: bool = False) -> Characters:
  """The characters of a corpus, ordered by their code points.

  Raises:
    ValueError: the corpus is empty.
  """
  found: set[str] = set()
  for text in texts:
    found.update(text)
  if not found:
    raise ValueError("characters cannot be learned from a corpus without text.")
  return Characters("".join(sorted(found)), has_eos=has_eos)


def fold_text8(text: str) -> str:
  """Lower-case letters a-z and single spaces, digits as words."""
  text = text.lower()
  for digit, word in enumerate(DIGITS):
    text = text.replace(str(digit), f" {word} ")
  return re.sub("[^a-z]+", " ", text)


def _codes(text: str) -> np.ndarray:
  """Code points; a lone surrogate counts as a character as any other."""
  return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
