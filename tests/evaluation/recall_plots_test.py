"""Questions and answers as cells: told, asked, right and wrong."""

import numpy as np
import pytest

from mdm.evaluation import recall_plots
from mdm.evaluation.recall_plots import HIGH, Questions, cell_box, draw_questions


def _draw(given, length=20):
  tokens = np.zeros(length, int)
  tokens[[0, 1, 5, 17]] = [3, 40, 3, 7]
  one = Questions(tokens, np.array([5, 17]), np.array([40, 50]), np.array(given), "x")
  return np.asarray(draw_questions([one]))


def _color(sheet, place, below=0):
  """The colour of a token's cell, or of the answer below it, beside its text."""
  left, top, _, _ = cell_box(place)
  return tuple(sheet[top + below * HIGH + 1, left + 1].tolist())


def test_right_answers_are_green_and_wrong_ones_red():
  sheet = _draw([40, 49])
  assert _color(sheet, 5, below=1) == recall_plots.RIGHT
  assert _color(sheet, 17, below=1) == recall_plots.WRONG
  assert _color(_draw([40, 50]), 17, below=1) == recall_plots.RIGHT


def test_nothing_stands_below_what_was_not_asked():
  assert _color(_draw([40, 50]), 1, below=1) == recall_plots.PAPER


def test_fillers_are_empty():
  sheet = _draw([40, 50])
  assert _color(sheet, 2) == recall_plots.FAINT
  assert _color(sheet, 0) == recall_plots.TOLD
  left, top, right, bottom = cell_box(2)
  assert (sheet[top : bottom + 1, left : right + 1] == recall_plots.FAINT).all()


def test_long_sequences_go_on_in_the_next_line():
  assert cell_box(16)[0] == cell_box(0)[0] and cell_box(16)[1] > cell_box(15)[3] + HIGH
  assert _draw([1, 1], length=40).shape[0] > _draw([1, 1], length=20).shape[0]


def test_nothing_to_draw_is_refused():
  with pytest.raises(ValueError, match="nothing to draw"):
    draw_questions([])
