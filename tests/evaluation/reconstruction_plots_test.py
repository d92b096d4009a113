"""The sheet of reconstructions: what stands in which column, in which colour."""

import numpy as np
import pytest

from mdm.evaluation.image_plots import GAP, HIDDEN, LINE, PAPER
from mdm.evaluation.reconstruction_plots import (
  COLORS,
  color_errors,
  draw_reconstructions,
  spread,
)
from mdm.methods.image.mae import Reconstruction

SCALE = 24  # of images of 4 rows, to 96 pixels
LEFT = GAP + SCALE // 2  # the middle of the first column's first pixel


def found(channels=3):
  """Two images of 4 x 6 pixels in patches of 2 x 2, the first patch hidden."""
  image = np.full((2, 4, 6, channels), 0.2, np.float32)
  image[1] = 0.4
  filled = image.copy()
  filled[:, :2, :2] = 1.0
  mask = np.arange(6) == np.zeros((2, 1))
  error = mask * np.array([[0.5], [3.0]], np.float32)
  return Reconstruction(image, mask, filled, error)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_holds_the_image_the_mask_what_is_made_of_it_and_the_error(channels):
  sheet = np.asarray(draw_reconstructions(found(channels)))
  step = 6 * SCALE + GAP
  rows = sheet[LINE + GAP + SCALE // 2 :: 4 * SCALE + GAP]
  assert sheet.shape == (LINE + 2 * (4 * SCALE + GAP) + GAP, 4 * step + GAP, 3)
  first = rows[:2, LEFT::step]  # the hidden corner
  last = rows[:2, LEFT + 5 * SCALE :: step]  # what was seen
  for row, value in enumerate((51, 102)):
    grey = [value, HIDDEN, 255]
    assert first[row, :3].tolist() == [[x] * 3 for x in grey]
    assert last[row].tolist() == [[x] * 3 for x in (value, value, value, PAPER)]
  assert first[:, 3].tolist() == [list(COLORS[1]), list(COLORS[2])]


def test_titles_stand_above_the_columns():
  strip = np.asarray(draw_reconstructions(found()))[:LINE]
  step = 6 * SCALE + GAP
  for column in range(4):
    assert (strip[:, GAP + column * step : GAP + (column + 1) * step] < 100).any()


def test_a_patch_covers_its_square_in_raster_order():
  values = spread(np.arange(6.0)[None], (4, 6))[0]
  assert values[:, ::2].tolist() == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2
  assert (values[:, ::2] == values[:, 1::2]).all()


def test_errors_darken_up_to_one_and_no_further():
  shades = color_errors(np.array([0.0, 0.25, 0.5, 0.75, 1.0, 9.0])).astype(int).sum(-1)
  assert (np.diff(shades) < 0).tolist() == [True] * 4 + [False]
  assert shades[-1] == shades[-2]
