import numpy as np
import pytest
from PIL import Image

from mdm.evaluation.image_plots import (
  HIDDEN,
  LINE,
  PAPER,
  check_picture,
  draw_captioned,
  draw_grid,
  draw_table,
  save_image_plot,
  show_hidden,
)


def story(passes, channels=3):
  """An image of 4 x 5 pixels, one row of which appears in each pass."""
  canvases = np.full((passes, 4, 5, channels), 256, np.int32)
  for k in range(1, passes):
    canvases[k, :k] = 10 * k
  return canvases


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_image_enlarged_in_its_place(channels):
  images = [np.full((4, 5, channels), 20 * k, np.uint8) for k in range(5)]
  sheet = np.asarray(draw_grid(images))
  cells = sheet.reshape(*sheet.shape[:2], -1)[4 + 48 :: 100, 4 + 60 :: 124, 0]
  assert cells.tolist() == [[0, 20, 40], [60, 80, PAPER]]


def test_a_hidden_channel_is_grey_and_others_are_as_they_are():
  assert show_hidden(np.array([[[[256, 0, 255]]]])).tolist() == [[[[HIDDEN, 0, 255]]]]


def test_passes_stand_side_by_side_and_shorter_stories_keep_their_last(tmp_path):
  save_image_plot([story(3), story(2)], tmp_path / "a.png")
  sheet = np.asarray(Image.open(tmp_path / "a.png"))
  cells = sheet[4 + 12 :: 100, 4 + 60 :: 124, 0]  # of each image's first row of pixels
  assert cells.tolist() == [[HIDDEN, 10, 20], [HIDDEN, 10, 10]]


def test_a_film_has_a_frame_to_each_pass_up_to_eighty(tmp_path):
  long = np.arange(200)[:, None, None, None] + np.zeros((200, 4, 5, 3), int)
  save_image_plot([long, story(3)], tmp_path / "a.gif")
  with Image.open(tmp_path / "a.gif") as film:
    assert film.n_frames == 80


def test_what_cannot_be_drawn_or_written_is_refused(tmp_path):
  with pytest.raises(ValueError, match="nothing to draw"):
    draw_grid([])
  with pytest.raises(ValueError, match="nothing to draw"):
    save_image_plot([story(0)], tmp_path / "a.png")
  with pytest.raises(ValueError, match="2 channels"):
    draw_grid([np.zeros((4, 4, 2), np.uint8)])
  with pytest.raises(ValueError, match="no picture's name"):
    check_picture(tmp_path / "grid.txt")
  with pytest.raises(ValueError, match="does not exist"):
    check_picture(tmp_path / "no" / "grid.png")


def test_a_table_has_its_titles_above_and_captions_stand_below_each_image():
  images = [np.full((4, 5, 1), 20 * k, np.uint8) for k in range(4)]
  table = np.asarray(draw_table([images[:2], images[2:]], ("left", "right")))
  cells = table[LINE + 4 + 48 :: 100, 4 + 60 :: 124, 0]
  assert cells.tolist() == [[0, 20], [40, 60]]
  assert all((table[:LINE, k : k + 124] < 100).any() for k in (4, 128))
  sheet = np.asarray(draw_captioned(images[:3], ("one", "", "3\nthree"), 2))
  high = 104 + LINE
  assert sheet.shape == (2 * high + LINE, 2 * 124 + 4, 3)
  assert sheet[4 + 48 :: high, 4 + 60 :: 124, 0][:2].tolist() == [[0, 20], [40, PAPER]]
  tops = (104, high + 104, 2 * high)
  words = [sheet[top : top + LINE, x : x + 124] for top in tops for x in (4, 128)]
  assert [bool((word < 100).any()) for word in words] == [True, False] * 3
