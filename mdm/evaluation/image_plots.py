"""Pictures of images: a grid of them, and how each appears, pass by pass.

A value that is hidden is drawn as middle grey, each channel by itself. A pixel of an
image becomes a square of whole pixels, so that nothing is smoothed.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from mdm.evaluation.text_plots import (
  FILM_MS,
  INK,
  LAST_MS,
  MOST_FRAMES,
  choose_passes,
  stack_panels,
)

HIDDEN, PAPER = 128, 255
GAP, SIDE = 4, 96  # pixels between images, and of a small image's height at least
LINE = 18  # pixels of a line of words
COLUMNS = 12  # passes beside one another

Pixels = UInt8[np.ndarray, "y x c"]
Passes = Int[np.ndarray, "_ y x c"]


def draw_grid(images: Sequence[Pixels], columns: int | None = None) -> Image.Image:
  """Images side by side, row by row.

  Args:
    images: all of one size, of 1 or 3 channels.
    columns: images to a row; None for as many as rows.

  Raises:
    ValueError: there is none, or they have another number of channels.
  """
  if not images:
    raise ValueError("there is nothing to draw; give at least one image.")
  rows, width, channels = images[0].shape
  if channels not in (1, 3):
    raise ValueError(
      f"images of {channels} channels have no colours to draw; 1 is grey, 3 is colour."
    )
  columns = columns or int(np.ceil(np.sqrt(len(images))))
  scale = max(1, SIDE // rows)
  high, wide = rows * scale + GAP, width * scale + GAP
  lines = -(-len(images) // columns)
  sheet = np.full((lines * high + GAP, columns * wide + GAP, channels), PAPER, np.uint8)
  for number, image in enumerate(images):
    top, left = GAP + number // columns * high, GAP + number % columns * wide
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    sheet[top : top + rows * scale, left : left + width * scale] = large
  return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def draw_table(rows: Sequence[Sequence[Pixels]], titles: Sequence[str]) -> Image.Image:
  """Rows of images, each column below its title.

  Raises:
    ValueError: as `draw_grid`.
  """
  grid = draw_grid([image for row in rows for image in row], len(titles))
  return stack_panels([_draw_words(titles, grid.width), grid])


def draw_captioned(
  images: Sequence[Pixels], captions: Sequence[str], columns: int
) -> Image.Image:
  """Images side by side, row by row, each above the lines of its caption.

  Raises:
    ValueError: as `draw_grid`.
  """
  panels = []
  for first in range(0, max(len(images), 1), columns):
    grid = draw_grid(images[first : first + columns], columns)
    lines = [text.split("\n") for text in captions[first : first + columns]]
    lines += [[]] * (columns - len(lines))
    panels.append(grid)
    for words in itertools.zip_longest(*lines, fillvalue=""):
      panels.append(_draw_words(words, grid.width))
  return stack_panels(panels)


def check_picture(path: str | Path) -> None:
  """Raises ValueError, before anything is drawn, for a file of no known kind."""
  place = Path(path)
  if place.suffix.lower() not in Image.registered_extensions():
    raise ValueError(f"{path} is no picture's name; name a .png or .gif file.")
  if not place.absolute().parent.is_dir():
    raise ValueError(f"the folder of {path} does not exist; make it, or name another.")


def save_grid(images: Sequence[Pixels], path: str | Path) -> None:
  """Writes a grid of images.

  Raises:
    ValueError: there is nothing to draw, or the file cannot be written.
  """
  save_picture(path, [draw_grid(images)])


def save_image_plot(stories: Sequence[Passes], path: str | Path) -> None:
  """Writes how images appear: a row of passes each, or a film if the path is a .gif.

  Args:
    stories: of each image its values at the start and after each pass; larger than 255
      is hidden.
    path: the picture's.

  Raises:
    ValueError: there is nothing to draw, or the file cannot be written.
  """
  if not stories or any(len(story) == 0 for story in stories):
    raise ValueError("there is nothing to draw; give at least one image with passes.")
  shown = [show_hidden(story) for story in stories]
  longest = max(map(len, shown))
  if Path(path).suffix.lower() == ".gif":
    chosen = choose_passes(longest, MOST_FRAMES)
    save_picture(
      path, [draw_grid([x[min(k, len(x) - 1)] for x in shown]) for k in chosen]
    )
    return
  columns = choose_passes(longest, COLUMNS)
  cells = [story[min(k, len(story) - 1)] for story in shown for k in columns]
  save_picture(path, [draw_grid(cells, len(columns))])


def show_hidden(passes: Passes) -> UInt8[np.ndarray, "_ y x c"]:
  """Values to look at, hidden ones in middle grey."""
  return np.where(passes > 255, HIDDEN, passes).astype(np.uint8)


def save_picture(path: str | Path, frames: Sequence[Image.Image]) -> None:
  """Writes a picture, or a film of several.

  Raises:
    ValueError: the file cannot be written.
  """
  film: dict[str, Any] = {}
  if len(frames) > 1:
    times = [max(FILM_MS // len(frames), 40)] * (len(frames) - 1) + [LAST_MS]
    film = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
  try:
    frames[0].save(path, **film)
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(
      f"{path} cannot be written ({error}); name a .png or .gif file."
    ) from None


def _draw_words(words: Sequence[str], width: int) -> Image.Image:
  """A line of words, one to each column of a grid; what is too long is cut."""
  step = (width - GAP) // len(words)
  strip = Image.new("RGB", (width, LINE), (PAPER,) * 3)
  for number, text in enumerate(words):
    cell = Image.new("RGB", (step, LINE), (PAPER,) * 3)
    font = ImageFont.load_default(12)
    ImageDraw.Draw(cell).text((0, LINE // 2), text, fill=INK, font=font, anchor="lm")
    strip.paste(cell, (GAP + number * step, 0))
  return strip
