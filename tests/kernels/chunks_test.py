"""Slots hold what a chunk's first query still sees; gradients find their way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels.chunks import (
  Slots,
  assign_slots,
  assign_sorted,
  gather_keys,
  number_keys,
  sort_slots,
)
from mdm.kernels.eviction import eviction_times
from mdm.kernels.intervals import window_intervals

N, W, C = 48, 7, 8
SCORE = jax.random.normal(jax.random.key(0), (2, 3, N))
END = jax.jit(eviction_times, static_argnums=1)(SCORE, W)
SLOTS = jax.jit(assign_slots, static_argnums=(1, 2))(END, W, C)


def test_carried_keys_are_those_that_the_first_query_still_sees():
  for b, g, c in np.ndindex(2, 3, N // C):
    carried = np.asarray(SLOTS.carried[b, g, c])
    before = np.arange(c * C)
    seen = before[np.asarray(END[b, g, : c * C]) > c * C]
    assert sorted(carried[carried >= 0]) == list(seen)
    assert len(set(carried[carried >= 0])) == (carried >= 0).sum()


def test_a_key_keeps_its_slot_until_it_leaves():
  carried = np.asarray(SLOTS.carried)
  for key in range(N):
    for b, g in np.ndindex(2, 3):
      chunk, slot = np.nonzero(carried[b, g] == key)
      assert len(set(slot)) <= 1
      np.testing.assert_array_equal(chunk, np.arange(len(chunk)) + key // C + 1)


def test_everything_a_chunk_sees_is_among_its_keys():
  numbers = np.asarray(number_keys(SLOTS, C))
  for b, g, i in np.ndindex(2, 3, N):
    seen = [j for j in range(i + 1) if i < END[b, g, j]]
    assert set(seen) <= set(numbers[b, g, i // C])


def test_a_window_carries_its_last_keys():
  carried = np.asarray(assign_slots(window_intervals(N, W).end, W, C).carried)
  last = np.arange(C, N, C)[:, None] + np.arange(1 - W, 0)  # those before each chunk
  np.testing.assert_array_equal(np.sort(carried[0, 0, 1:])[:, 1:], last)
  assert (np.sort(carried[0, 0])[:, 0] == -1).all()


@pytest.mark.parametrize(
  "slots",
  [sort_slots(SLOTS, END), jax.jit(assign_sorted, static_argnums=(1, 2))(END, W, C)],
  ids=["sorted", "at once"],
)
def test_sorted_slots_have_the_keys_that_leave_last_first(slots):
  numbers = np.asarray(number_keys(slots, C))[..., :W]
  end = np.take_along_axis(np.asarray(END), np.maximum(numbers, 0).reshape(2, 3, -1), 2)
  end = np.where(numbers < 0, 0, end.reshape(numbers.shape))
  assert (np.diff(end, axis=-1) <= 0).all()
  assert (np.sort(numbers) == np.sort(SLOTS.carried)).all()


@pytest.mark.parametrize("is_deterministic", [False, True])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_gradients_are_added_where_rows_came_from(is_sorted, is_deterministic):
  slots = sort_slots(SLOTS, END) if is_sorted else SLOTS
  x = jax.random.normal(jax.random.key(1), (2, 3, N, 4))
  rows, pull = jax.vjp(lambda x: gather_keys(x, slots, is_deterministic), x)
  numbers = np.asarray(number_keys(slots, C))
  cotangent = np.asarray(jax.random.normal(jax.random.key(2), rows.shape))
  cotangent = np.where(numbers[..., None] < 0, 0, cotangent)  # as of dead keys
  expected = np.zeros(x.shape)
  for b, g, c, k in np.ndindex(numbers.shape):
    if (number := numbers[b, g, c, k]) >= 0:
      np.testing.assert_array_equal(rows[b, g, c, k], x[b, g, number])
      expected[b, g, number] += cotangent[b, g, c, k]
  (found,) = pull(jnp.asarray(cotangent))
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_of_half_precision_are_summed_in_float32():
  """256 + 16 x 1 would stay 256 if each sum were rounded to bfloat16."""
  carried = jnp.zeros((1, 1, 17, 1), jnp.int32).at[:, :, 0].set(-1)
  x = jnp.zeros((1, 1, 17), jnp.bfloat16)
  for is_deterministic in (False, True):
    rows, pull = jax.vjp(
      lambda x, d=is_deterministic: gather_keys(x, Slots(carried), d), x
    )
    (found,) = pull(jnp.ones_like(rows).at[0, 0, 0, 1].set(256))
    assert found[0, 0, 0] == 272
