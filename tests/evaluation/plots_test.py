import numpy as np
import pytest

from mdm.evaluation import plots


def _story(width=96, channels=1):
  image = np.full((32, width, channels), 200, np.uint8)
  steps = [
    (["", "", ""], [0.0, 0.0, 0.0]),
    (["a", "", "END"], [0.9, 0.4, 0.99]),
  ]
  return plots.Story(image, steps, "read: a")


def test_masked_cells_are_grey_and_sure_cells_green():
  sheet = np.asarray(plots.draw_denoising([_story()]))
  colors = {tuple(c) for c in sheet.reshape(-1, 3)}
  assert plots.MASKED in colors
  assert plots.confidence_color(0.99) in colors


def test_confidence_runs_from_red_to_green():
  low, high = plots.confidence_color(0.0), plots.confidence_color(1.0)
  assert low[0] > low[1] and high[1] > high[0]
  assert plots.confidence_color(-1.0) == low and plots.confidence_color(2.0) == high


def test_every_story_has_its_panel():
  one = plots.draw_denoising([_story()])
  two = plots.draw_denoising([_story(), _story(channels=3)])
  assert two.height == 2 * one.height and two.width == one.width


def test_wide_images_do_not_leave_the_panel():
  sheet = plots.draw_denoising([_story(width=2_000)])
  assert sheet.width == plots.draw_denoising([_story()]).width


def test_nothing_to_draw_is_an_error():
  with pytest.raises(ValueError, match="at least one image"):
    plots.draw_denoising([])
