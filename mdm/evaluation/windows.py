"""Texts of any length as rows of one length: cut one after the other, every token once.

The windows of a text know nothing of each other; the last one ends in padding. What is
given, a prompt, stands at the start of a text's only window and is not scored.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

NOTHING = np.zeros(0, np.int32)


class Windows(NamedTuple):
  """Rows of one length, and whose they are.

  Attributes:
    tokens: ids; 0 for padding.
    valid: real tokens.
    prompt: given ones, in no score.
    text: the number of the text that each window is of.
  """

  tokens: Int[np.ndarray, "w n"]
  valid: Bool[np.ndarray, "w n"]
  prompt: Bool[np.ndarray, "w n"]
  text: Int[np.ndarray, "w"]


def cut_windows(
  texts: Sequence[Int[np.ndarray, "_"]],
  length: int,
  prompt: Int[np.ndarray, "p"] = NOTHING,
) -> Windows:
  """The windows of some texts, in order.

  Args:
    texts: ids of each.
    length: of a window.
    prompt: ids that each text follows; then a text has one window.

  Raises:
    ValueError: a text without tokens, or one that does not fit behind the prompt.
  """
  rows: list[np.ndarray] = []
  owners: list[int] = []
  for number, ids in enumerate(texts):
    if len(ids) == 0:
      raise ValueError(f"text {number + 1} is empty; give at least one token.")
    if len(prompt) and len(prompt) + len(ids) > length:
      raise ValueError(
        f"prompt and text {number + 1} have {len(prompt)} + {len(ids)} tokens, more "
        f"than the {length} that the model reads at once; shorten one of them."
      )
    whole = np.concatenate([prompt, ids]).astype(np.int32)
    rows += [whole[first : first + length] for first in range(0, len(whole), length)]
    owners += [number] * (len(rows) - len(owners))
  lengths = np.array([len(row) for row in rows])
  places = np.arange(length)
  valid = places < lengths[:, None]  # w n
  tokens = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
  is_given = np.broadcast_to(places < len(prompt), tokens.shape)
  return Windows(tokens, valid, is_given, np.array(owners))


def window_batches(windows: Windows, batch: int) -> Iterator[dict[str, np.ndarray]]:
  """Batches of the table in data/batch.py; `index` is the window's number.

  Short batches are filled with rows of weight 0 to a multiple of eight, so that few
  shapes are compiled.
  """
  for first in range(0, len(windows.text), batch):
    chosen = np.arange(first, min(first + batch, len(windows.text)))
    short = -len(chosen) % min(batch, 8)
    rows = np.pad(chosen, (0, short), "edge")
    found = {
      "tokens": windows.tokens[rows],
      "valid": windows.valid[rows],
      "index": rows.astype(np.int32),
      "weight": (np.arange(len(rows)) < len(chosen)).astype(np.float32),
    }
    if windows.prompt.any():
      found["prompt"] = windows.prompt[rows]
    yield found
