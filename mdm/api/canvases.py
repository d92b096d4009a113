"""Canvases from what a user writes: a prompt to go on from, or a template with holes.

In a template, `[MASK]` stands for one hidden token and `[MASK:12]` for twelve; all else
is given, and stays. "In the beginning [MASK:3] created" hides three tokens.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

HOLE = re.compile(r"\[MASK(?::(\d+))?\]")
NEARLY = re.compile(r"\[\s*mask[^\]\[]{0,12}\]", re.IGNORECASE)


class Canvas(NamedTuple):
  """One row to fill.

  Attributes:
    tokens: ids, the mask id where one is to be found, also in padding.
    valid: False for what only fills the row up.
    given: what the user wrote.
  """

  tokens: Int[np.ndarray, "n"]
  valid: Bool[np.ndarray, "n"]
  given: Bool[np.ndarray, "n"]


def read_template(template: str) -> list[str | int]:
  """The parts of a template in order: text, and for each hole its number of tokens.

  Raises:
    ValueError: no hole, one of no token, or something that only looks like one.
  """
  parts: list[str | int] = []
  last = 0
  for hole in HOLE.finditer(template):
    count = int(hole[1] or 1)
    if count == 0:
      raise ValueError(f"{hole[0]} hides nothing; write [MASK:1] or more.")
    parts += [template[last : hole.start()], count]
    last = hole.end()
  parts.append(template[last:])
  for text in parts:
    if isinstance(text, str) and (wrong := NEARLY.search(text)):
      raise ValueError(
        f"{wrong[0]} is no hole; write [MASK] for one token, [MASK:12] for twelve."
      )
  if len(parts) == 1:
    raise ValueError(
      f"template {template!r} has no hole; write [MASK] for one hidden token, "
      "[MASK:12] for twelve."
    )
  return [part for part in parts if part != ""]


def make_canvas(
  parts: list[str | int],
  tokenizer: Any,
  *,
  mask_id: int,
  length: int | None = None,
  multiple: int = 1,
) -> Canvas:
  """The canvas of a template's parts, or of a prompt, [prompt].

  Args:
    parts: texts, and numbers of hidden tokens.
    tokenizer: of the texts; each is encoded by itself.
    mask_id: the id of a hidden position.
    length: tokens; what the parts leave is hidden too. None for theirs alone.
    multiple: of which the row's length must be; padding makes it so.

  Raises:
    ValueError: a character that the tokenizer does not know, or more than fits.
  """
  ids: list[int] = []
  given: list[bool] = []
  for part in parts:
    found = [mask_id] * part if isinstance(part, int) else tokenizer.encode(part)
    ids += found
    given += [isinstance(part, str)] * len(found)
  used = len(ids) if length is None else length
  if used < 1:
    raise ValueError(f"length = {used} must be 1 or more.")
  if len(ids) > used or (length is not None and all(given) and len(ids) == used):
    raise ValueError(
      f"the prompt has {len(ids)} tokens, which leaves nothing to fill on a canvas of "
      f"{used}; shorten it, or make the canvas longer (length)."
    )
  size = -(-used // multiple) * multiple
  rest = size - len(ids)
  return Canvas(
    np.array(ids + [mask_id] * rest, np.int32),
    np.arange(size) < used,
    np.array(given + [False] * rest),
  )
