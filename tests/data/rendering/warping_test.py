import math

import numpy as np
import pytest
from PIL import Image

from mdm.data.rendering.warping import (
  Bend,
  Curve,
  Margins,
  _invert,
  draw_bend,
  lay_word,
  warp,
)

STRAIGHT = Curve(0.0, 0.0, 0.0)
BLOCK = Image.new("L", (60, 20), 255)  # a word that is all ink
NONE = Margins(0.0, 0.0, 0.0, 0.0)


def plain(aspect=3.0):
  """No bend at all."""
  return Bend(((aspect, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), STRAIGHT)


def test_without_strength_nothing_bends():
  bend = draw_bend(np.random.default_rng(0), 4.0, 0.0)
  np.testing.assert_allclose(bend.forward, plain(4.0).forward, atol=1e-12)
  assert not bend.curve.at(np.linspace(-1, 1, 9)).any()


@pytest.mark.parametrize("seed", range(10))
def test_the_box_holds_the_bent_words_whole_outline(seed):
  bend = draw_bend(np.random.default_rng(seed), 3.0, 1.0)
  left, top, width, height = bend.box()
  x, y = np.meshgrid(np.linspace(-1, 1, 50), [-1.0, 1.0])
  places = np.stack([x, y + bend.curve.at(x), np.ones_like(x)])
  u, v, depth = np.einsum("ij,jab->iab", np.array(bend.forward), places)
  slack = 0.02 * max(width, height)  # the box is that of nine points to a side
  assert (u / depth > left - slack).all() and (u / depth < left + width + slack).all()
  assert (v / depth > top - slack).all() and (v / depth < top + height + slack).all()


def test_the_inverse_of_a_map_undoes_it():
  forward = draw_bend(np.random.default_rng(3), 3.0, 1.0).forward
  product = np.array(_invert(forward)) @ np.array(forward)
  np.testing.assert_allclose(product / product[2, 2], np.eye(3), atol=1e-9)


def test_a_word_fills_the_image_up_to_its_margins():
  margins = Margins(left=0.25, top=0.25, right=0.125, bottom=0.125)
  cover = lay_word(BLOCK, plain(), 40, 80, margins)
  inside = np.zeros((40, 80), bool)
  inside[10:35, 20:70] = True
  assert cover[inside].mean() > 0.97
  assert cover[~inside].mean() < 0.03


def test_negative_margins_cut_the_word():
  cover = lay_word(BLOCK, plain(), 20, 60, Margins(-0.1, -0.1, -0.1, -0.1))
  assert cover.min() > 0.99


@pytest.mark.parametrize(("place", "left"), [(0.0, 0), (0.5, 30), (1.0, 60)])
def test_a_word_that_is_not_widened_stands_where_it_is_placed(place, left):
  cover = lay_word(BLOCK, plain(), 20, 120, NONE, stretch=1.0, place=place)
  columns = (cover > 0.5).any(axis=0).nonzero()[0]
  assert columns[0] == pytest.approx(left, abs=1)
  assert len(columns) == pytest.approx(60, abs=2)


def test_an_arc_lifts_the_ends_against_the_middle():
  bend = plain()._replace(curve=Curve(0.8, 0.0, 0.0))
  cover = lay_word(BLOCK, bend, 60, 90, NONE)
  top = (cover > 0.5).argmax(axis=0)
  assert top[2] > top[45] + 10 and top[-3] > top[45] + 10
  assert abs(int(top[10]) - int(top[-11])) <= 1  # the same on both sides


def test_a_turn_tilts_the_line():
  cos, sin = math.cos(0.2), math.sin(0.2)
  turned = Bend(((3 * cos, -sin, 0.0), (3 * sin, cos, 0.0), (0.0, 0.0, 1.0)), STRAIGHT)
  cover = lay_word(BLOCK, turned, 60, 90, NONE)
  rows = np.arange(60)[:, None]
  centre = (cover * rows).sum(axis=0) / np.maximum(cover.sum(axis=0), 1e-6)
  assert centre[70] > centre[20] + 10  # y points down


def test_a_prints_word_keeps_within_the_image():
  for seed in range(20):
    cover = warp(np.random.default_rng(seed), BLOCK, 32, 96, 1.0)
    assert cover.shape == (32, 96)
    assert 0.1 < cover.mean() < 1.0
    assert cover.min() >= 0 and cover.max() <= 1.0 + 1e-6
