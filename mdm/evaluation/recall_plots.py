"""Questions of a made-up sequence, and how they were answered, as a picture.

A cell to each token in order, fillers empty. Below a question stands the answer that
was given: on green where it is right, on red, with the right one behind it, where not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageDraw, ImageFont

from mdm.evaluation.text_plots import stack_panels

PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (214, 214, 218)
TOLD, RIGHT, WRONG = (253, 232, 206), (176, 222, 170), (244, 170, 158)
WIDE, HIGH, GAP, TITLE = 62, 18, 2, 24  # pixels
COLUMNS = 16
FILLER = 0


class Questions(NamedTuple):
  """One example.

  Attributes:
    tokens: the sequence.
    places: where something is asked for, up to its own token.
    answers: what is due there.
    given: what was answered.
    title: a line above.
  """

  tokens: Int[np.ndarray, "n"]
  places: Int[np.ndarray, "q"]
  answers: Int[np.ndarray, "q"]
  given: Int[np.ndarray, "q"]
  title: str


def draw_questions(examples: Sequence[Questions]) -> Image.Image:
  """Examples one below the other.

  Raises:
    ValueError: there is none.
  """
  if not examples:
    raise ValueError("there is nothing to draw; give at least one example.")
  return stack_panels([_draw_example(example) for example in examples])


def cell_box(place: int) -> tuple[int, int, int, int]:
  """Pixels of a token's cell: left, top, right and bottom. Its answer is below it."""
  left = GAP + place % COLUMNS * (WIDE + GAP)
  top = TITLE + place // COLUMNS * (2 * HIGH + 3 * GAP)
  return left, top, left + WIDE - 1, top + HIGH - 1


def _draw_example(example: Questions) -> Image.Image:
  """One panel."""
  lines = -(-len(example.tokens) // COLUMNS)
  size = (COLUMNS * (WIDE + GAP) + GAP, TITLE + lines * (2 * HIGH + 3 * GAP))
  panel = Image.new("RGB", size, PAPER)
  draw = ImageDraw.Draw(panel)
  draw.text((GAP + 2, TITLE / 2), example.title, fill=INK, font=_font(13), anchor="lm")
  for place, token in enumerate(example.tokens.tolist()):
    is_filler = token == FILLER
    _draw_cell(draw, cell_box(place), "" if is_filler else str(token),
               FAINT if is_filler else TOLD)  # fmt: skip
  asked = zip(example.places, example.answers, example.given, strict=True)
  for place, answer, given in asked:
    left, top, right, bottom = cell_box(int(place))
    below = (left, top + HIGH, right, bottom + HIGH)
    text = str(given) if given == answer else f"{given} ({answer})"
    _draw_cell(draw, below, text, RIGHT if given == answer else WRONG)
  return panel


def _draw_cell(
  draw: ImageDraw.ImageDraw,
  box: tuple[int, int, int, int],
  text: str,
  color: tuple[int, int, int],
) -> None:
  """A box with a text in its middle."""
  draw.rectangle(box, fill=color)
  middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
  draw.text(middle, text, fill=INK, font=_font(10), anchor="mm")


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
  return ImageFont.load_default(size)
