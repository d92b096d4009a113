"""Characters and their ids, shared by pipelines, methods and readers.

Ids: EOS = 0, characters 1..C, MASK = C + 1, PAD = C + 2. An embedding needs C + 3
rows, a classifier C + 1 outputs (EOS and the characters), so MASK and PAD are never
predicted.

A charset is "printable" (the 94 printable ASCII characters without the space), "alnum"
(digits and lower-case letters; text is lower-cased) or the path of a dictionary file:
UTF-8, one character a line, in the order of the ids.

Source: MDiff4STR, Mask Diffusion Model for Scene Text Recognition, 2025, labels.
"""

import functools
import pathlib
import string
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32

EOS = 0
NAMED = {
  "alnum": string.digits + string.ascii_lowercase,
  "printable": string.digits + string.ascii_letters + string.punctuation,
}


class Charset:
  """An ordered set of characters, by name or dictionary file."""

  def __init__(self, name: str) -> None:
    self.name = name
    self.characters = _characters(name)
    self.folds_case = name == "alnum"
    self._ids = {c: 1 + k for k, c in enumerate(self.characters)}

  @property
  def num_characters(self) -> int:
    """C, the number of characters; ids run to C + 2."""
    return len(self.characters)

  @property
  def eos_id(self) -> int:
    """The id that ends a text."""
    return EOS

  @property
  def mask_id(self) -> int:
    """The id of a hidden position."""
    return self.num_characters + 1

  @property
  def pad_id(self) -> int:
    """The id behind the end of a text."""
    return self.num_characters + 2

  def normalize(self, text: str) -> str:
    """The text as it will be read back: folded, without unknown characters."""
    text = text.lower() if self.folds_case else text
    return "".join(c for c in text if c in self._ids)

  def fits(self, text: str, canvas: int) -> bool:
    """Whether `encode` takes the text: something is left and it is short enough."""
    return 0 < len(self.normalize(text)) < canvas

  def encode(
    self, text: str, canvas: int
  ) -> tuple[Int32[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """`(tokens, valid)`: the characters, EOS, then PAD up to `canvas` positions.

    Raises:
      ValueError: nothing is left after dropping unknown characters, or no room for EOS.
    """
    known = self.normalize(text)
    if not known:
      raise ValueError(
        f"text {text!r} has no character of charset {self.name!r}; "
        "drop the example or choose a charset that has its characters."
      )
    if len(known) > canvas - 1:
      raise ValueError(
        f"text {text!r} has {len(known)} characters, more than the {canvas - 1} that a "
        f"canvas of {canvas} holds beside EOS; shorten it or set data.canvas to "
        f"{len(known) + 1} or more."
      )
    tokens = np.full(canvas, self.pad_id, np.int32)
    tokens[: len(known)] = [self._ids[c] for c in known]
    tokens[len(known)] = EOS
    return tokens, np.arange(canvas) <= len(known)

  def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
    """The text before the first EOS; MASK and PAD are skipped."""
    text = []
    for token in np.asarray(tokens).tolist():
      if token == EOS:
        break
      if token <= self.num_characters:
        text.append(self.characters[token - 1])
    return "".join(text)


@functools.cache
def _characters(name: str) -> str:
  """The characters of a named charset or of a dictionary file."""
  if name in NAMED:
    return NAMED[name]
  path = pathlib.Path(name).expanduser()
  if not path.is_file():
    raise ValueError(
      f"data.charset = {name!r} is neither one of {sorted(NAMED)} nor a file; give a "
      "known name or a dictionary file with one character a line."
    )
  lines = [c for c in path.read_text("utf-8").split("\n") if c]
  wrong = [c for c in lines if len(c) != 1] or [c for c in lines if lines.count(c) > 1]
  if wrong or not lines:
    raise ValueError(
      f"dictionary {path} must hold one character a line, each once; "
      f"found {wrong[0]!r}."
      if wrong
      else f"dictionary {path} is empty; write one character a line."
    )
  return "".join(lines)
