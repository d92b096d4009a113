"""Difficulty-guided masks, from easy to hard."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.hard import count_hard, hard_scores, hard_share
from mdm.masks.keys import example_keys
from mdm.masks.scores import random_scores, split_by_score

ROWS, N, KEPT = 16, 49, 12
HIDDEN = N - KEPT


def row_keys(rows=ROWS):
  return example_keys(jax.random.key(0), jnp.arange(rows))


def difficulty(rows=ROWS):
  return jax.random.normal(jax.random.key(1), (rows, N))


@jax.jit
def mask_of(keys, difficulty, num_hard):
  return split_by_score(hard_scores(keys, difficulty, num_hard), KEPT).mask


def test_without_hard_patches_the_mask_is_the_random_one_bit_for_bit():
  expected = split_by_score(random_scores(row_keys(), N), KEPT).mask
  assert (mask_of(row_keys(), difficulty(), jnp.int32(0)) == expected).all()


def test_a_full_share_hides_the_hardest_patches_alone():
  mask = mask_of(row_keys(), difficulty(), count_hard(HIDDEN, 1.0))
  hardest = np.argsort(difficulty(), axis=1)[:, KEPT:]
  assert np.take_along_axis(np.asarray(mask), hardest, axis=1).all()


def test_every_share_hides_the_exact_count_and_its_hardest_without_compiling_again():
  compiled = mask_of._cache_size()
  order = np.argsort(difficulty(), axis=1)
  for num_hard in range(HIDDEN + 1):
    mask = np.asarray(mask_of(row_keys(), difficulty(), jnp.int32(num_hard)))
    assert (mask.sum(axis=1) == HIDDEN).all()
    hardest = order[:, N - num_hard :]
    assert np.take_along_axis(mask, hardest, axis=1).all()
  assert mask_of._cache_size() <= compiled + 1


def test_the_rest_is_hidden_uniformly():
  rows, num_hard = 10_000, 18
  alike = jnp.broadcast_to(jnp.arange(float(N)), (rows, N))  # the last are hardest
  mask = np.asarray(mask_of(row_keys(rows), alike, jnp.int32(num_hard)))
  others = mask[:, : N - num_hard]
  share = (HIDDEN - num_hard) / (N - num_hard)
  expected, variance = rows * share, rows * share * (1 - share)
  # Chi-square with 30 degrees of freedom exceeds 59.7 with probability 1e-3.
  assert ((others.sum(axis=0) - expected) ** 2 / variance).sum() * 30 / 31 < 59.7
  # Patches of equal chance are also hidden independently of one another's difficulty.
  first, second = others[:, 0], others[:, 1]
  together = (HIDDEN - num_hard - 1) / (N - num_hard - 1) * share
  assert abs((first & second).mean() - together) < 4 * (together / rows) ** 0.5


def test_equal_difficulties_still_hide_the_exact_count():
  mask = mask_of(row_keys(), jnp.zeros((ROWS, N)), jnp.int32(9))
  assert (mask.sum(axis=1) == HIDDEN).all()
  assert mask[:, N - 9 :].all()


def test_difficulties_that_are_no_numbers_leave_the_count():
  broken = difficulty().at[:, ::2].set(jnp.nan)
  mask = mask_of(row_keys(), broken, jnp.int32(18))
  assert (mask.sum(axis=1) == HIDDEN).all()


def test_no_gradient_flows_into_the_difficulty():
  slope = jax.grad(lambda q: hard_scores(row_keys(), q, 9).sum())(difficulty())
  assert (slope == 0).all()


@pytest.mark.parametrize("epochs", [100, 200, 300, 800])
@pytest.mark.parametrize("hidden", [147, 150, 100, 48])
def test_the_count_follows_the_schedule_of_exact_arithmetic(hidden, epochs):
  schedule = jax.jit(lambda epoch: count_hard(hidden, hard_share(epoch, epochs)))
  found = jax.vmap(schedule)(jnp.arange(epochs, dtype=jnp.float32))
  exact = [hidden * Fraction(e + 1, 2 * epochs) // 1 for e in range(epochs)]
  assert found.tolist() == exact


def test_the_share_stands_still_within_an_epoch_and_after_the_last():
  shares = [float(hard_share(epoch, 4)) for epoch in (0, 0.99, 1, 3.5, 4, 9)]
  assert shares == [0.125, 0.125, 0.25, 0.5, 0.5, 0.5]
  assert float(hard_share(1, 4, start=1, end=0)) == 0.5


def test_shares_and_epochs_out_of_range_are_refused():
  with pytest.raises(ValueError, match=r"from 0.0 to 50 lie outside \[0, 1\]"):
    hard_share(0, 10, end=50)
  with pytest.raises(ValueError, match="epochs = 0 must be positive"):
    hard_share(0, 0)


def test_a_mask_follows_its_example_through_any_batch():
  index = jnp.array([7, 2, 15])
  keys = example_keys(jax.random.key(0), index)
  some = mask_of(keys, difficulty()[index], jnp.int32(9))
  assert (some == mask_of(row_keys(), difficulty(), jnp.int32(9))[index]).all()


def test_a_mask_is_the_same_on_eight_devices_without_exchange():
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))

  @functools.partial(jax.jit, in_shardings=(rows, rows), out_shardings=rows)
  def draw(index, difficulty):
    return mask_of(example_keys(jax.random.key(0), index), difficulty, jnp.int32(9))

  compiled = draw.lower(jnp.arange(ROWS), difficulty()).compile()
  assert "all-" not in compiled.as_text()
  drawn = compiled(*jax.device_put((jnp.arange(ROWS), difficulty()), rows))
  expected = mask_of(row_keys(), difficulty(), jnp.int32(9))
  assert (np.asarray(drawn) == np.asarray(expected)).all()
