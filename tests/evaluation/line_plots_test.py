import numpy as np
import pytest
from PIL import Image

from mdm.evaluation.line_plots import (
  COLORS,
  RIGHT,
  SIZE,
  draw_lines,
  find_crossover,
  save_plot,
)

STEEP = [(1.0, 1.0), (2.0, 4.0), (4.0, 16.0)]  # y = x^2
FLAT = [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)]  # y = 2 x


def test_lines_cross_where_their_powers_do():
  assert find_crossover(FLAT, STEEP) == pytest.approx(2.0)
  assert find_crossover([(1.0, 3.0), (4.0, 12.0)], STEEP) == pytest.approx(3.0)


def test_a_line_that_is_never_below_does_not_cross_and_one_always_below_does_at_once():
  assert find_crossover([(1.0, 9.0), (4.0, 99.0)], STEEP) is None
  assert find_crossover([(1.0, 0.5), (4.0, 1.0)], STEEP) == 1
  assert find_crossover([(8.0, 0.5)], STEEP) is None


def test_a_line_that_ends_as_high_does_not_cross_and_of_several_the_last_counts():
  level = [(1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 1.0)]
  assert find_crossover([(1.0, 2.0), (8.0, 1.0)], level) is None
  waves = [(1.0, 4.0), (2.0, 0.5), (4.0, 2.0), (8.0, 0.5)]
  assert find_crossover(waves, level) == pytest.approx(32**0.5)


def rows_of(image, color, right):
  """Rows of pixels of a colour, beside the axes or inside them."""
  pixels = (np.asarray(image) == color).all(axis=-1)  # y x
  edge = SIZE[0] - RIGHT
  return np.flatnonzero((pixels[:, edge:] if right else pixels[:, :edge]).any(axis=1))


def test_what_is_more_is_drawn_higher_and_names_stand_apart():
  lines = {"less": FLAT, "more": [(x, 8 * y) for x, y in FLAT], "as much": FLAT}
  image = draw_lines(lines, title="t", across="n", up="ms")
  less, more = (rows_of(image, color, right=False) for color in COLORS[:2])
  assert more.mean() < less.mean()
  names = [set(rows_of(image, color, right=True)) for color in COLORS[:3]]
  assert all(names) and not names[0] & names[2]


def test_the_mark_is_where_it_is_said_to_be():
  places = []
  for x in (1.5, 3.0):
    plain, marked = (
      draw_lines({"one": FLAT}, title="t", across="n", up="ms", mark=mark)
      for mark in (None, (x, ""))
    )
    changed = (np.asarray(plain) != np.asarray(marked)).any(axis=(0, 2))
    places.append(np.flatnonzero(changed).mean())
  left, right = places
  inside = np.asarray(plain)[:, : SIZE[0] - RIGHT]
  one, *_, four = np.flatnonzero((inside == COLORS[0]).all(axis=-1).any(axis=0))
  share = (np.array([left, right]) - one) / (four - one)
  np.testing.assert_allclose(share, np.log([1.5, 3.0]) / np.log(4), atol=0.02)


def test_lines_are_drawn_in_their_colours_beside_their_names():
  image = draw_lines(
    {"ours": FLAT, "dense": STEEP}, title="t", across="n", up="ms", mark=(2.0, "here")
  )
  pixels = set(image.get_flattened_data())
  assert {COLORS[0], COLORS[1]} <= pixels


def test_what_cannot_be_drawn_or_written_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no line has two points"):
    draw_lines({"one": [(1.0, 1.0)]}, title="", across="", up="")
  with pytest.raises(ValueError, match=r"name a \.png file"):
    save_plot(Image.new("RGB", (2, 2)), tmp_path / "plot.what")
