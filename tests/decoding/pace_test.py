"""Blocks of a canvas and the passes of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.pace import make_pace


def windows(free, num_steps, block_length, passes=None):
  """For each pass and row: its positions, number and passes in the block."""

  @jax.jit
  def see(free, steps):
    pace = make_pace(free, num_steps, block_length)
    look = lambda step: (pace.window(step) & free, *pace.place(step))  # noqa: E731
    return jax.vmap(look)(steps)

  seen = see(jnp.asarray(free), jnp.arange(passes or num_steps))
  return list(zip(*map(np.asarray, seen), strict=True))


def test_one_block_holds_everything_and_counts_all_passes():
  free = np.array([[True, False, True, True]])
  for step, (window, place, places) in enumerate(windows(free, 5, None)):
    assert (window == free).all() and place == step and places == 5


def test_blocks_follow_the_hidden_positions_of_each_row():
  free = np.ones((2, 10), bool)
  free[0, :2] = False  # a prompt of two
  free[1, [1, 4, 6, 9]] = False  # given here and there
  seen = windows(free, 6, 4)
  for step in range(3):
    assert np.flatnonzero(seen[step][0][0]).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(seen[step + 3][0][0]).tolist() == [6, 7, 8, 9]
    assert np.flatnonzero(seen[step][0][1]).tolist() == [0, 2, 3, 5]
    assert np.flatnonzero(seen[step + 3][0][1]).tolist() == [7, 8]  # a short one
  assert [int(place[0]) for _, place, _ in seen] == [0, 1, 2, 0, 1, 2]
  assert all((places == 3).all() for _, _, places in seen)


@pytest.mark.parametrize("num_steps", [3, 5, 7, 11])
@pytest.mark.parametrize("block_length", [3, 4, 7])
def test_passes_are_shared_out_whatever_their_number(num_steps, block_length):
  free = np.ones((1, 9), bool)
  seen = windows(free, num_steps, block_length)
  assert np.logical_or.reduce([window for window, _, _ in seen]).all()
  starts = [i for i, (_, place, _) in enumerate(seen) if place == 0]
  for first, end in zip(starts, [*starts[1:], num_steps], strict=True):
    for i in range(first, end):
      window, place, places = seen[i]
      assert (window == seen[first][0]).all()
      assert place == i - first and places == end - first


def test_one_pass_to_each_position_fills_block_after_block():
  free = np.array([[False, True, True, True, True, True, True, False]])
  seen = windows(free, None, 2, passes=6)
  at = [np.flatnonzero(window[0]).tolist() for window, _, _ in seen]
  assert at == [[1, 2], [1, 2], [3, 4], [3, 4], [5, 6], [5, 6]]


def test_a_row_with_nothing_hidden_has_no_window():
  free = np.array([[False] * 4, [True] * 4])
  assert not any(window[0].any() for window, _, _ in windows(free, 4, 2))


def test_with_fewer_passes_than_blocks_the_last_takes_the_rest():
  seen = windows(np.ones((1, 8), bool), 2, 2)
  assert np.flatnonzero(seen[0][0][0]).tolist() == [0, 1]
  assert np.flatnonzero(seen[1][0][0]).tolist() == [2, 3, 4, 5, 6, 7]
