"""Same image, magnitude and sign: the pixels of the original's fifteen operations.

Pixels are equal. Frequencies are compared within four deviations of the difference of
two counts.
"""

import functools
import pathlib

import numpy as np
import pytest

from mdm.data.image_randaugment import (
  MEAN_COLOUR,
  OPERATIONS,
  Change,
  apply_changes,
  draw_changes,
)

with np.load(pathlib.Path(__file__).with_name("randaugment.npz")) as file:
  STORED = dict(file)
NAMES = dict(zip(OPERATIONS, STORED["law/names"].tolist(), strict=True))
DRAWS = int(STORED["law/draws"])


@functools.cache
def drawn():
  """What is applied to as many images as the original's."""
  rng = np.random.default_rng(0)
  return [draw_changes(rng) for _ in range(DRAWS)]


def assert_counts_agree(found, stored):
  spread = np.sqrt(np.maximum(np.asarray(found) + stored, 1))
  assert (np.abs(found - stored) < 4 * spread).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_makes_the_originals_pixels(name):
  stored = STORED[f"output/{NAMES[name]}"]
  for k, magnitude in enumerate(STORED["input/magnitudes"].tolist()):
    for sign, expected in zip((1.0, -1.0), stored[k], strict=True):
      change = Change(name, magnitude / 10, sign)
      found = apply_changes(STORED["input/image"], [change])
      np.testing.assert_array_equal(found, expected)


def test_moves_fill_with_the_originals_colour():
  assert STORED["input/fill"].tolist() == list(MEAN_COLOUR)


def test_as_many_operations_are_applied_and_each_as_often():
  sizes = np.bincount([len(changes) for changes in drawn()])
  assert_counts_agree(sizes, STORED["law/num_applied"])
  kinds = [list(OPERATIONS).index(c.name) for changes in drawn() for c in changes]
  assert_counts_agree(np.bincount(kinds), STORED["law/count"])


def test_one_operation_is_applied_twice_as_often():
  twice = sum(len(c) == 2 and c[0].name == c[1].name for c in drawn())
  assert_counts_agree(twice, STORED["law/same_twice"])


def test_magnitudes_and_signs_have_the_originals_law():
  moves = [
    change
    for changes in drawn()
    for change in changes
    if change.name in ("rotate", "shear_x", "shear_y")
  ]
  share = np.mean([change.sign < 0 for change in moves])
  assert abs(share - STORED["law/negative"]) < 4 * np.sqrt(0.5 / len(moves))
  found = np.quantile([10 * c.strength for c in moves], np.linspace(0, 1, 21))
  # 4,000 of deviation 0.5: a quantile from the 5th to the 95th lies within 0.017.
  assert np.abs(found - STORED["law/magnitude"])[1:-1].max() < 4 * 0.017 * np.sqrt(2)
  assert found[-1] == STORED["law/magnitude"][-1] == 10
