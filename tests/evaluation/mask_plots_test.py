"""Sheets of masks."""

import numpy as np
import pytest
from PIL import Image

from mdm.evaluation.mask_examples import MaskExample, MaskSheet
from mdm.evaluation.mask_plots import (
  CELL,
  HIDDEN,
  PAPER,
  SHOWN,
  draw_masks,
  save_mask_plot,
  show_mask,
)


def example(name="a", count=1, rows=2, columns=3):
  mask = np.arange(rows * columns).reshape(rows, columns) % 2 == 0
  return MaskExample(name, "masks.a.b", np.stack([mask] * count))


def test_a_hidden_element_is_a_dark_square_with_a_line_around():
  pixels = show_mask(example().masks[0])
  assert pixels.shape == (2 * CELL, 3 * CELL, 3)
  middles = pixels[1::CELL, 1::CELL].tolist()
  dark, light = list(HIDDEN), list(SHOWN)
  assert middles == [[dark, light, dark], [light, dark, light]]
  assert (pixels[CELL - 1] == PAPER).all() and (pixels[:, CELL - 1] == PAPER).all()


def count_squares(sheet):
  """Dark squares of a sheet."""
  dark = (np.asarray(sheet) == HIDDEN).all(axis=-1)
  return dark.sum() / (CELL - 1) ** 2


def test_every_mask_of_every_section_is_on_the_sheet():
  sections = {"one": [example(count=4)], "two": [example("b"), example("c", 2)]}
  assert count_squares(draw_masks(sections)) == 7 * 3


def test_panels_that_do_not_fit_go_on_in_the_next_line():
  few = draw_masks({"one": [example(columns=60)] * 3})
  many = draw_masks({"one": [example(columns=60)] * 6})
  assert many.width == few.width and many.height > few.height
  assert count_squares(many) == 2 * count_squares(few)


def test_a_panel_wider_than_the_sheet_widens_it():
  sheet = draw_masks({"one": [example(count=3, columns=200)]})
  assert sheet.width > 3 * 200 * CELL
  assert count_squares(sheet) == 3 * 200


def test_the_sheet_is_written_and_its_masks_are_named(tmp_path):
  out = tmp_path / "masks.png"
  found = save_mask_plot(out, MaskSheet(count=1, rows=4, columns=4))
  with Image.open(out) as sheet:
    assert count_squares(sheet) == sum(e.masks.sum() for e in found)
  assert len({e.name for e in found}) == len(found) > 25


def test_a_file_of_no_kind_is_refused_before_anything_is_drawn(tmp_path):
  with pytest.raises(ValueError, match="no picture's name"):
    save_mask_plot(tmp_path / "masks.txt", MaskSheet(ratio=7.0))
