"""Negatives: which frames they are of, how often each, and fixed shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.negatives import draw_negatives

draw = jax.jit(draw_negatives, static_argnums=2, static_argnames="budget")
ROWS, N, COUNT = 40, 20, 30
MASK = jnp.asarray(np.random.default_rng(0).random((ROWS, N)) < 0.4)
MASK = MASK.at[0].set(False).at[1].set(False).at[1, 7].set(True).at[2].set(True)


def row_keys(rows=ROWS):
  return example_keys(jax.random.key(0), jnp.arange(rows))


@pytest.fixture(scope="module")
def found():
  return jax.tree.map(np.asarray, draw(row_keys(), MASK, COUNT))


def test_places_hold_the_hidden_frames_in_their_order(found):
  assert found.anchors.shape == (ROWS, 12)  # 0.6 of 20
  for row in range(3, ROWS):
    hidden = np.flatnonzero(MASK[row])[:12]
    if MASK[row].sum() <= 12:
      assert found.anchors[row, : len(hidden)].tolist() == hidden.tolist()
      assert found.weight[row].tolist() == [1.0] * len(hidden) + [0.0] * (
        12 - len(hidden)
      )


def test_negatives_are_other_hidden_frames_of_the_row(found):
  frames = np.take_along_axis(found.anchors[:, None], found.index, axis=2)  # b m k
  real = found.weight > 0
  rows, places = np.nonzero(real)
  for row, place in zip(rows, places, strict=True):
    drawn = frames[row, place]
    assert np.asarray(MASK[row])[drawn].all()
    assert (drawn != found.anchors[row, place]).all()
    assert (found.weight[row][found.index[row, place]] == 1).all()


def test_rows_with_no_or_one_hidden_frame_weigh_nothing(found):
  assert (found.weight[:2] == 0).all()
  assert ((found.index >= 0) & (found.index < 12)).all()


def test_a_row_with_too_many_hidden_frames_keeps_as_many_as_there_is_room_for():
  rows = 3_000
  found = draw(row_keys(rows), jnp.ones((rows, 10), bool), 1, budget=0.4)
  assert found.anchors.shape == (rows, 4) and (found.weight == 1).all()
  assert (np.diff(found.anchors, axis=1) > 0).all()
  kept = np.bincount(np.asarray(found.anchors).ravel(), minlength=10) / rows
  np.testing.assert_allclose(kept, 0.4, atol=0.04)  # at random: 4 sigmas


def test_every_other_frame_is_drawn_equally_often():
  mask = jnp.zeros((500, 12), bool).at[:, jnp.array([1, 4, 5, 8, 11])].set(True)
  found = draw(row_keys(500), mask, 40, budget=0.5)
  index = np.asarray(found.index)[:, :5]  # 100,000 draws
  for place in range(5):
    counts = np.bincount(index[:, place].ravel(), minlength=5)
    assert counts[place] == 0
    counts = np.delete(counts, place)
    expected = counts.sum() / 4
    # Chi-square with 3 degrees of freedom exceeds 21.1 with probability 1e-4.
    assert ((counts - expected) ** 2 / expected).sum() < 21.1


def test_padding_the_batch_changes_nothing(found):
  wide = draw(row_keys(), jnp.pad(MASK, ((0, 0), (0, N))), COUNT)
  fits = np.asarray(MASK).sum(1) <= 12
  kept = found.weight[fits][..., None] > 0
  assert (wide.weight[fits][:, :12] == found.weight[fits]).all()
  assert (wide.weight[fits][:, 12:] == 0).all()
  assert ((wide.index[fits][:, :12] == found.index[fits]) | ~kept).all()


def test_a_row_does_not_depend_on_its_neighbours(found):
  order = np.array([9, 2, 30])
  some = draw(row_keys()[order], MASK[order], COUNT)
  for ours, all_rows in zip(some, found, strict=True):
    assert (np.asarray(ours) == all_rows[order]).all()


@pytest.mark.parametrize(
  ("count", "budget", "answer"),
  [(0, 0.6, "count = 0 negatives"), (5, 0.0, "budget = 0.0"), (5, 1.5, "budget = 1.5")],
)
def test_numbers_out_of_range_are_refused(count, budget, answer):
  with pytest.raises(ValueError, match=answer):
    draw_negatives(row_keys(), MASK, count, budget=budget)
