"""Scores of single texts and files, as `Model.score` gives them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.evaluation.likelihood import Scored, summarize

SHOWN = 40  # characters that stand for a text


@dataclasses.dataclass(frozen=True)
class TextScore:
  """How likely a text is; `_error` is the standard error of the estimate.

  Attributes:
    source: the file, or the text's beginning.
    tokens, characters: that were scored.
    windows: that the text was cut into; each is scored by itself.
    strata: hidden counts of each window's estimate, an upper bound; 0 for an exact
      score, whose errors are 0.
    bits_per_char_stderr: for other text of this kind, from how windows differ; None
      for one window.
  """

  source: str
  nats: float
  nats_error: float
  bits_per_token: float
  bits_per_token_error: float
  bits_per_char: float
  bits_per_char_error: float
  perplexity: float
  perplexity_error: float
  tokens: int
  characters: int
  windows: int
  strata: int
  bits_per_char_stderr: float | None = None

  @property
  def is_bound(self) -> bool:
    """Whether nats, bits and perplexity are upper bounds."""
    return self.strata > 0

  def describe(self) -> str:
    """The score in a few lines for people."""
    kind = f"upper bounds, {self.strata} strata a window" if self.strata else "exact"
    other = self.bits_per_char_stderr
    spread = "" if other is None else f" (± {other:.4f} for other text of its kind)"
    rows = {
      "bits per character": (self.bits_per_char, self.bits_per_char_error),
      "bits per token": (self.bits_per_token, self.bits_per_token_error),
      "perplexity": (self.perplexity, self.perplexity_error),
      "nats": (self.nats, self.nats_error),
    }
    lines = [f"  {name:18} {x:.4f} ± {error:.4f}" for name, (x, error) in rows.items()]
    lines[0] += spread
    counts = f"{self.characters:,} characters, {self.tokens:,} tokens"
    head = f"{self.source}: {counts}, windows: {self.windows}; {kind}"
    return "\n".join([head, *lines])

  def to_json(self) -> dict[str, Any]:
    """The score as plain types."""
    return dataclasses.asdict(self) | {"is_upper_bound": self.is_bound}


def read_texts(texts: str | Path | Sequence[str | Path]) -> list[tuple[str, str]]:
  """(source, text) pairs; a `Path` is a file, a string the text itself.

  Raises:
    ValueError: a file that is missing, empty or not UTF-8; no text at all.
  """
  many = [texts] if isinstance(texts, str | Path) else list(texts)
  if not many:
    raise ValueError("there is no text to score; give one, or a file.")
  return [_read(text) for text in many]


def encode_texts(texts: Sequence[tuple[str, str]], tokenizer: Any) -> list[np.ndarray]:
  """Ids of each text.

  Raises:
    ValueError: unknown characters, or nothing in a text that could be scored.
  """
  rows = []
  for source, text in texts:
    try:
      ids = np.asarray(tokenizer.encode_array(text), np.int32)
    except ValueError as error:
      raise ValueError(f"{source}: {error}") from None
    if not len(ids):
      raise ValueError(f"{source} is empty; give at least one character.")
    rows.append(ids)
  return rows


def make_score(source: str, scored: Scored, characters: int, strata: int) -> TextScore:
  """A text's score from its windows."""
  numbers = summarize(scored, float(characters))
  names = {field.name for field in dataclasses.fields(TextScore)} - {"tokens"}
  return TextScore(
    source=source,
    tokens=int(numbers["tokens"]),
    characters=characters,
    windows=len(scored.nats),
    strata=strata,
    **{name: value for name, value in numbers.items() if name in names},
  )


def _read(text: str | Path) -> tuple[str, str]:
  if isinstance(text, str):
    source = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return repr(source), text
  from mdm.data.text.corpora import read_utf8

  if not text.is_file():
    raise ValueError(f"{text} is no file; name a file of text in UTF-8.")
  return str(text), read_utf8(text).strip("\n")
