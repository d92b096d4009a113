import re
import xml.etree.ElementTree as ElementTree

import pytest

from mdm.evaluation import svg_curves


def _lines(svg):
  return [
    [tuple(map(float, place.split(","))) for place in line.split()]
    for line in re.findall(r'<polyline points="([^"]*)"', svg)
  ]


def test_a_mean_is_taken_at_the_steps_that_all_seeds_have():
  curves = [[(1, 2.0), (2, 4.0), (3, 1.0)], [(1, 4.0), (3, 3.0), (4, 9.0)]]
  assert svg_curves.mean_curve(curves) == [(1, 3.0), (3, 2.0)]


def test_each_seed_has_a_line_and_each_arm_its_mean():
  svg = svg_curves.draw_curves(
    {"A": [[(0, 1.0), (10, 3.0)], [(0, 3.0), (10, 5.0)]], "B": [[(0, 2.0), (10, 2.0)]]},
    "loss",
  )
  a, b, mean, *_ = lines = _lines(svg)
  assert len(lines) == 5
  assert mean[0][1] == pytest.approx((a[0][1] + b[0][1]) / 2, abs=0.1)
  assert (
    a[0][1] > a[1][1] and a[0][0] < a[1][0]
  )  # values rise upwards, steps rightwards


def test_what_is_not_finite_is_left_out():
  svg = svg_curves.draw_curves({"A": [[(0, 1.0), (1, float("nan")), (2, 2.0)]]}, "x")
  assert "nan" not in svg and len(_lines(svg)[0]) == 2


def test_nothing_to_draw_is_refused():
  with pytest.raises(ValueError, match="no curve has a point"):
    svg_curves.draw_curves({"A": [[]]}, "x")


def test_texts_are_escaped_and_the_svg_is_well_formed():
  svg = svg_curves.draw_curves({"<b>&": [[(0, 1.0)]]}, 'a "loss" <x>')
  root = ElementTree.fromstring(svg)
  assert root.attrib["aria-label"] == 'a "loss" <x>'
  assert "<b>&" in [node.text for node in root.iter("text")]
  assert len(root.findall("circle")) == 2


@pytest.mark.parametrize(
  ("low", "high", "ticks"),
  [(0, 10, [0, 2, 4, 6, 8, 10]), (0.31, 0.52, [0.35, 0.4, 0.45, 0.5])],
)
def test_ticks_are_round(low, high, ticks):
  assert svg_curves.nice_ticks(low, high) == pytest.approx(ticks)


def test_an_interval_lies_on_its_side_of_zero():
  root = ElementTree.fromstring(svg_curves.draw_interval(0.1, 0.2, 0.3))
  zero, line = root.findall("line")
  assert float(line.attrib["x1"]) > float(zero.attrib["x1"])
  assert float(line.attrib["x2"]) <= 160
  nan = float("nan")
  alone = ElementTree.fromstring(svg_curves.draw_interval(nan, -0.2, nan))
  assert float(alone.find("circle").attrib["cx"]) < 80
  assert svg_curves.draw_interval(nan, nan, nan) == ""
