"""Pictures of text appearing: a row of cells per pass, or a film of one pass a frame.

Every character has a cell of one size, so that nothing moves as tokens appear. Grey
cells are hidden, blue ones were given, yellow ones are new since the row or frame
before; the rest was there already. A hook is a line feed, a square the end of a text.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HIDDEN, NEW, GIVEN = (214, 214, 218), (255, 214, 92), (178, 210, 245)
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 126)
WIDTH, HEIGHT, MARGIN, LABEL = 10, 20, 8, 70
COLUMNS = 64  # characters of a line
MOST_ROWS, MOST_FRAMES = 12, 80
FILM_MS, LAST_MS = 6_000, 3_000
END = "\x03"  # what a position that ends the text holds


class TextStory(NamedTuple):
  """How one text came to be.

  Attributes:
    passes: each position's text at the start, after each pass, and at the end; "" is
      hidden.
    given: positions that were there from the start.
    title: a line above.
  """

  passes: Sequence[Sequence[str]]
  given: Sequence[bool]
  title: str


class Place(NamedTuple):
  """Where a position is drawn: line and column, and its width in characters."""

  line: int
  column: int
  width: int


def save_text_plot(stories: Sequence[TextStory], path: str | Path) -> None:
  """Writes a picture, or a film where the path ends in .gif.

  Raises:
    ValueError: there is nothing to draw, or the file cannot be written.
  """
  if not stories or any(len(story.passes) == 0 for story in stories):
    raise ValueError("there is nothing to draw; give at least one text and its passes.")
  try:
    if Path(path).suffix.lower() == ".gif":
      frames, times = draw_film(stories)
      frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=times, loop=0
      )
    else:
      draw_sheet(stories).save(path)
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(
      f"{path} cannot be written ({error}); name a .png or .gif file."
    ) from None


def draw_sheet(stories: Sequence[TextStory]) -> Image.Image:
  """Up to twelve passes of each text, one below the other."""
  panels = []
  for story in stories:
    shown = choose_passes(len(story.passes), MOST_ROWS)
    rows = [_draw_pass(story, now, before) for now, before in _with_last(shown)]
    panels += [_draw_title(story.title), *rows]
  return stack_panels(panels)


def draw_film(stories: Sequence[TextStory]) -> tuple[list[Image.Image], list[int]]:
  """A frame per pass, up to eighty, all texts in each; how long each is shown, in ms.

  Texts of fewer passes keep their last one.
  """
  longest = max(len(story.passes) for story in stories)
  frames = []
  for now, before in _with_last(choose_passes(longest, MOST_FRAMES)):
    panels = []
    for story in stories:
      last = len(story.passes) - 1
      panels += [
        _draw_title(story.title),
        _draw_pass(story, min(now, last), min(before, last)),
      ]
    frames.append(stack_panels(panels))
  times = [max(FILM_MS // len(frames), 40)] * (len(frames) - 1) + [LAST_MS]
  return frames, times


def choose_passes(count: int, most: int) -> list[int]:
  """Up to `most` of `count` passes, evenly spread, the first and the last included."""
  return sorted({round(float(x)) for x in np.linspace(0, count - 1, min(count, most))})


def place_cells(passes: Sequence[Sequence[str]]) -> list[Place]:
  """A place for every position: as wide as its longest text, lines filled in turn."""
  places = []
  line = column = 0
  for texts in zip(*passes, strict=True):
    width = min(max(1, *(len(text) for text in texts)), COLUMNS)
    if column + width > COLUMNS:
      line, column = line + 1, 0
    places.append(Place(line, column, width))
    column += width
  return places


def stack_panels(panels: Sequence[Image.Image]) -> Image.Image:
  """Panels one below the other, on paper as wide as the widest."""
  size = (max(p.width for p in panels), sum(p.height for p in panels))
  sheet = Image.new("RGB", size, PAPER)
  top = 0
  for panel in panels:
    sheet.paste(panel, (0, top))
    top += panel.height
  return sheet


def _draw_pass(story: TextStory, now: int, before: int) -> Image.Image:
  """One pass of a text; what differs from the pass before is new."""
  places = place_cells(story.passes)
  lines = places[-1].line + 1 if places else 1
  size = (LABEL + COLUMNS * WIDTH + MARGIN, lines * HEIGHT + MARGIN)
  panel = Image.new("RGB", size, PAPER)
  draw = ImageDraw.Draw(panel)
  label = "start" if now == 0 else f"pass {now}"
  label = "written" if now == len(story.passes) - 1 and now else label
  draw.text((MARGIN, HEIGHT / 2), label, fill=FAINT, font=_font(13), anchor="lm")
  for position, place in enumerate(places):
    text, last = story.passes[now][position], story.passes[before][position]
    color = GIVEN if story.given[position] else PAPER
    if not text:
      color = HIDDEN
    elif text != last and not story.given[position]:
      color = NEW
    _draw_cell(draw, place, text, color)
  return panel


def _draw_cell(
  draw: ImageDraw.ImageDraw, place: Place, text: str, color: tuple[int, int, int]
) -> None:
  left, top = LABEL + place.column * WIDTH, place.line * HEIGHT
  right = left + place.width * WIDTH - 2
  if color != PAPER:
    draw.rectangle((left, top, right, top + HEIGHT - 3), fill=color)
  for number, letter in enumerate(text[: place.width]):
    x, y = left + (number + 0.5) * WIDTH - 1, top + HEIGHT / 2 - 1
    if letter == "\n":
      draw.line((x + 2, y - 4, x + 2, y + 2, x - 3, y + 2), fill=FAINT, width=2)
    elif letter == END:
      draw.rectangle((x - 3, y - 3, x + 2, y + 2), fill=FAINT)
    else:
      draw.text((x, y), letter, fill=INK, font=_font(15), anchor="mm")


def _draw_title(title: str) -> Image.Image:
  panel = Image.new("RGB", (LABEL + COLUMNS * WIDTH + MARGIN, HEIGHT + MARGIN), PAPER)
  draw = ImageDraw.Draw(panel)
  draw.text((MARGIN, HEIGHT / 2 + 2), title, fill=INK, font=_font(14), anchor="lm")
  return panel


def _with_last(shown: Sequence[int]) -> Iterator[tuple[int, int]]:
  """Each pass that is shown, and the one shown before it."""
  return zip(shown, [shown[0], *shown], strict=False)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
  return ImageFont.load_default(size)
