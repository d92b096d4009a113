"""Pictures of a word being un-masked: the image, then one row of cells per pass.

Each cell is one canvas position after that pass: its character, coloured by confidence
from red (0) to green (1); grey cells are still masked. The last row is what was read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, GAP, LABEL = 34, 3, 118
PAPER, INK, MASKED = (255, 255, 255), (20, 20, 20), (214, 214, 218)


class Story(NamedTuple):
  """One image and how it was read.

  Attributes:
    image: pixels, uint8 [y x c].
    steps: (symbols, confidences) at the start, after each pass, and as read; "" is a
      masked position.
    title: a line above the picture.
  """

  image: np.ndarray
  steps: Sequence[tuple[Sequence[str], Sequence[float]]]
  title: str


def draw_denoising(stories: Sequence[Story]) -> Image.Image:
  """One panel per story, one above the other.

  Raises:
    ValueError: there is no story to draw.
  """
  if not stories:
    raise ValueError("there is nothing to draw; give at least one image.")
  panels = [_draw_story(story) for story in stories]
  width = max(panel.width for panel in panels)
  sheet = Image.new("RGB", (width, sum(p.height + 12 for p in panels)), PAPER)
  top = 0
  for panel in panels:
    sheet.paste(panel, (0, top))
    top += panel.height + 12
  return sheet


def confidence_color(confidence: float) -> tuple[int, int, int]:
  """Red at 0, yellow at one half, green at 1, all light enough for black letters."""
  share = float(np.clip(confidence, 0.0, 1.0))
  red = 255 if share < 0.5 else round(255 - 2 * (share - 0.5) * 135)
  green = round(120 + 2 * share * 105) if share < 0.5 else 225
  return red, green, 130


def _draw_story(story: Story) -> Image.Image:
  longest = max(len(symbols) for symbols, _ in story.steps)
  width = LABEL + longest * (CELL + GAP) + GAP
  picture = _enlarge(story.image, height=64, limit=width - LABEL)
  top = 24 + picture.height + 8
  panel = Image.new("RGB", (width, top + len(story.steps) * (CELL + GAP) + GAP), PAPER)
  draw = ImageDraw.Draw(panel)
  draw.text((6, 4), story.title, fill=INK, font=_font(14))
  panel.paste(picture, (LABEL, 24))
  for row, (symbols, confidences) in enumerate(story.steps):
    y = top + row * (CELL + GAP)
    label = {0: "start", len(story.steps) - 1: "read"}.get(row, f"pass {row}")
    draw.text((6, y + 9), label, fill=INK, font=_font(14))
    for column, (symbol, sure) in enumerate(zip(symbols, confidences, strict=True)):
      x = LABEL + column * (CELL + GAP)
      _draw_cell(draw, x, y, symbol, sure)
  return panel


def _draw_cell(
  draw: ImageDraw.ImageDraw, x: int, y: int, symbol: str, sure: float
) -> None:
  color = confidence_color(sure) if symbol else MASKED
  draw.rounded_rectangle((x, y, x + CELL, y + CELL), 4, fill=color)
  if symbol == "END":
    draw.text((x + CELL / 2, y + 11), "end", fill=INK, font=_font(12), anchor="mm")
  elif symbol:
    draw.text((x + CELL / 2, y + 12), symbol, fill=INK, font=_font(18), anchor="mm")
  if symbol:
    draw.text(
      (x + CELL / 2, y + 28), f"{sure:.2f}", fill=INK, font=_font(9), anchor="mm"
    )


def _enlarge(image: np.ndarray, *, height: int, limit: int) -> Image.Image:
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  scale = height / image.shape[0]
  size = (min(max(round(image.shape[1] * scale), 1), limit), height)
  return Image.fromarray(pixels).convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
  return ImageFont.load_default(size)
