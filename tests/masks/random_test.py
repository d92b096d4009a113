"""Exact-share and independent masks."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.random import count_hidden
from mdm.masks.random import mask_bernoulli as bernoulli
from mdm.masks.random import mask_exact as exact

mask_exact = jax.jit(exact, static_argnames=("ratio", "rounding"))
mask_bernoulli = jax.jit(bernoulli, static_argnames="ratio")

ROWS, LENGTH = 64, 20
LENGTHS = np.arange(ROWS) % (LENGTH + 1)
VALID = jnp.asarray(np.arange(LENGTH) < LENGTHS[:, None])


def row_keys(seed=0, rows=ROWS):
  return example_keys(jax.random.key(seed), jnp.arange(rows))


@pytest.mark.parametrize("ratio", ["0", "0.15", "0.35", "0.5", "0.75", "1"])
@pytest.mark.parametrize("rounding", ["nearest", "down", "up"])
def test_exact_mask_hides_the_count_of_exact_arithmetic(ratio, rounding):
  share = [Fraction(ratio) * int(count) for count in LENGTHS]
  rule = {
    "nearest": lambda x: (2 * x + 1) // 2,
    "down": lambda x: x // 1,
    "up": lambda x: -((-x) // 1),
  }[rounding]
  mask = mask_exact(row_keys(), VALID, ratio=float(ratio), rounding=rounding)
  assert mask.sum(axis=1).tolist() == [rule(x) for x in share]
  assert not (mask & ~VALID).any()


def test_exact_mask_takes_one_ratio_per_row_under_jit():
  ratio = jnp.linspace(0, 1, ROWS)
  mask = jax.jit(exact)(row_keys(), VALID, ratio)
  assert (mask.sum(axis=1) == count_hidden(VALID, ratio)).all()


def test_exact_mask_prefers_no_position():
  valid = jnp.ones((10_000, 10), bool)
  hits = mask_exact(row_keys(rows=10_000), valid, ratio=0.3).sum(axis=0)
  # Chi-square with 9 degrees of freedom exceeds 27.9 with probability 1e-3.
  assert ((hits - 3000) ** 2 / (10_000 * 0.3 * 0.7)).sum() * 0.9 < 27.9


def test_bernoulli_mask_hides_its_share_and_no_padding():
  valid = jnp.ones((10_000, 10), bool).at[:, 7:].set(False)
  mask = mask_bernoulli(row_keys(rows=10_000), valid, ratio=0.3)
  assert abs(float(mask[:, :7].mean()) - 0.3) < 4 * (0.21 / 70_000) ** 0.5
  assert not mask[:, 7:].any()


def test_bernoulli_mask_takes_one_ratio_per_row():
  valid = jnp.ones((2, 8), bool)
  mask = bernoulli(row_keys(rows=2), valid, jnp.array([0.0, 1.0]))
  assert not mask[0].any()
  assert mask[1].all()


@pytest.mark.parametrize("draw", [exact, bernoulli])
def test_a_mask_follows_its_example_through_any_batch_order(draw):
  draw = jax.jit(functools.partial(draw, ratio=0.5))
  order = np.random.default_rng(0).permutation(ROWS)
  keys = example_keys(jax.random.key(0), jnp.asarray(order))
  assert (draw(keys, VALID[order]) == draw(row_keys(), VALID)[order]).all()


@pytest.mark.parametrize("draw", [exact, bernoulli])
def test_a_mask_is_the_same_on_eight_devices(draw):
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))
  index = jax.device_put(jnp.arange(ROWS), rows)
  drawn = jax.jit(
    lambda index, valid: draw(example_keys(jax.random.key(0), index), valid, 0.5)
  )(index, jax.device_put(VALID, rows))
  assert (np.asarray(drawn) == np.asarray(draw(row_keys(), VALID, 0.5))).all()


def test_a_ratio_outside_its_range_is_refused():
  with pytest.raises(ValueError, match=r"75.0 lies outside \[0, 1\]; write 0.75"):
    exact(row_keys(), VALID, 75.0)


def test_an_unknown_rounding_rule_names_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'nearest'"):
    exact(row_keys(), VALID, 0.5, rounding="neares")
