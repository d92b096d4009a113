"""A sheet of masks: panels with a name each, in sections, dark where hidden."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from mdm.evaluation.image_plots import check_picture
from mdm.evaluation.mask_examples import MaskExample, MaskSheet, all_examples

HIDDEN, SHOWN = (52, 62, 92), (238, 226, 196)
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 126)
CELL, GAP, MARGIN = 5, 8, 14  # pixels of a patch or token, between masks, around panels
TITLE, WIDTH = 20, 1_000  # of a name's line, and of the sheet


def save_mask_plot(out: str | Path, sheet: MaskSheet) -> list[MaskExample]:
  """Writes a sheet of every mask the package has, and returns what it shows.

  Raises:
    ValueError: as `all_examples`, or the file is no picture.
  """
  check_picture(out)
  sections = all_examples(sheet)
  draw_masks(sections).save(out)
  return [example for section in sections.values() for example in section]


def draw_masks(sections: Mapping[str, Sequence[MaskExample]]) -> Image.Image:
  """One sheet: each section's panels in lines, below its heading."""
  panels = {name: [_draw_panel(e) for e in found] for name, found in sections.items()}
  widest = max(panel.width for found in panels.values() for panel in found)
  width = max(WIDTH, widest + 2 * MARGIN)
  strips = [_draw_heading("dark: hidden, or not seen", width, 13, FAINT)]
  for name, found in panels.items():
    strips += [_draw_heading(name, width, 17, INK), *_lay_out(found, width)]
  sheet = Image.new("RGB", (width, sum(strip.height for strip in strips)), PAPER)
  top = 0
  for strip in strips:
    sheet.paste(strip, (0, top))
    top += strip.height
  return sheet


def show_mask(mask: Bool[np.ndarray, "y x"]) -> UInt8[np.ndarray, "_ _ 3"]:
  """A mask as pixels, a square to each element with a line of paper around it."""
  colors = np.where(
    mask[..., None], np.array(HIDDEN, np.uint8), np.array(SHOWN, np.uint8)
  )
  large = colors.repeat(CELL, axis=0).repeat(CELL, axis=1)
  large[CELL - 1 :: CELL] = PAPER
  large[:, CELL - 1 :: CELL] = PAPER
  return large


def _draw_panel(example: MaskExample) -> Image.Image:
  """A name above masks side by side."""
  masks = [Image.fromarray(show_mask(mask)) for mask in example.masks]
  font = ImageFont.load_default(12)
  wide = sum(mask.width + GAP for mask in masks)
  size = (max(wide, round(font.getlength(example.name)) + GAP), TITLE + masks[0].height)
  panel = Image.new("RGB", size, PAPER)
  ImageDraw.Draw(panel).text((0, 2), example.name, fill=INK, font=font)
  for number, mask in enumerate(masks):
    panel.paste(mask, (number * (mask.width + GAP), TITLE))
  return panel


def _draw_heading(
  text: str, width: int, size: int, color: tuple[int, int, int]
) -> Image.Image:
  """A line of text across the sheet."""
  strip = Image.new("RGB", (width, size + MARGIN), PAPER)
  font = ImageFont.load_default(size)
  ImageDraw.Draw(strip).text((MARGIN, MARGIN // 2), text, fill=color, font=font)
  return strip


def _lay_out(panels: Sequence[Image.Image], width: int) -> list[Image.Image]:
  """Strips as wide as the sheet, each with as many panels as fit."""
  lines: list[list[Image.Image]] = [[]]
  for panel in panels:
    used = sum(other.width + MARGIN for other in lines[-1])
    if lines[-1] and MARGIN + used + panel.width > width:
      lines.append([])
    lines[-1].append(panel)
  strips = []
  for line in lines:
    strip = Image.new("RGB", (width, max(p.height for p in line) + MARGIN), PAPER)
    left = MARGIN
    for panel in line:
      strip.paste(panel, (left, 0))
      left += panel.width + MARGIN
    strips.append(strip)
  return strips
