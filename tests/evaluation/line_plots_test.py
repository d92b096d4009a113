import pytest
from PIL import Image

from mdm.evaluation.line_plots import COLORS, draw_lines, find_crossover, save_plot

STEEP = [(1.0, 1.0), (2.0, 4.0), (4.0, 16.0)]  # y = x^2
FLAT = [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)]  # y = 2 x


def test_lines_cross_where_their_powers_do():
  assert find_crossover(FLAT, STEEP) == pytest.approx(2.0)
  assert find_crossover([(1.0, 3.0), (4.0, 12.0)], STEEP) == pytest.approx(3.0)


def test_a_line_that_is_never_below_does_not_cross_and_one_always_below_does_at_once():
  assert find_crossover([(1.0, 9.0), (4.0, 99.0)], STEEP) is None
  assert find_crossover([(1.0, 0.5), (4.0, 1.0)], STEEP) == 1
  assert find_crossover([(8.0, 0.5)], STEEP) is None


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
