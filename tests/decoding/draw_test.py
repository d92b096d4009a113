"""Random choices: right laws, rare events included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import chi_square

from mdm.decoding.draw import (
  adjust_logits,
  draw_tokens,
  exclude_classes,
  flip_coins,
  keep_top_p,
  token_probs,
)
from mdm.masks.keys import example_keys

KEYS = example_keys(jax.random.key(0), jnp.arange(64))
LOGITS = np.random.default_rng(0).normal(size=11).astype(np.float32) * 2
draw = jax.jit(draw_tokens, static_argnames=("temperature", "top_p"))


def softmax(logits):
  weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
  return weights / weights.sum()


def nucleus(probs, top_p):
  """The fewest likeliest classes that reach top_p, by sorting."""
  order = np.argsort(-probs)
  needed = 1 + np.searchsorted(np.cumsum(probs[order]), top_p)
  return np.isin(np.arange(len(probs)), order[:needed])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_follow_the_softmax_at_a_temperature(temperature):
  tokens = draw(KEYS, jnp.tile(LOGITS, (64, 512, 1)), temperature=temperature)
  counts = np.bincount(np.asarray(tokens).ravel(), minlength=11)
  assert chi_square(counts, softmax(LOGITS / temperature)) < 4


def test_temperature_zero_takes_the_likeliest():
  logits = jax.random.normal(jax.random.key(1), (64, 5, 11))
  tokens = draw(KEYS, logits, temperature=0.0, top_p=0.3)
  assert (tokens == logits.argmax(-1)).all()


def test_no_draw_leaves_the_nucleus_or_takes_an_excluded_class():
  logits = exclude_classes(jnp.tile(LOGITS, (64, 512, 1)), (int(LOGITS.argmax()), 3))
  tokens = np.asarray(draw(KEYS, logits, top_p=0.6))
  probs = softmax(np.asarray(logits[0, 0]))
  kept = nucleus(probs, 0.6)
  assert 1 < kept.sum() < 9
  counts = np.bincount(tokens.ravel(), minlength=11)
  assert (counts[~kept] == 0).all()
  assert chi_square(counts[kept], probs[kept] / probs[kept].sum()) < 4


def test_the_least_top_p_takes_the_likeliest():
  logits = jnp.tile(LOGITS, (64, 512, 1))
  assert (draw(KEYS, logits, top_p=1e-6) == LOGITS.argmax()).all()


@pytest.mark.parametrize("top_p", [0.3, 0.95])
def test_what_is_drawn_again_follows_the_nucleus(top_p):
  logits = jnp.tile(LOGITS / 4, (64, 512, 1))
  tokens = np.asarray(draw(KEYS, logits, top_p=top_p))
  probs = softmax(LOGITS / 4)
  kept = nucleus(probs, top_p)
  counts = np.bincount(tokens.ravel(), minlength=11)
  assert (counts[~kept] == 0).all()
  assert chi_square(counts[kept], probs[kept] / probs[kept].sum()) < 4


def test_each_position_draws_from_its_own_nucleus():
  logits = jax.random.normal(jax.random.key(5), (64, 9, 33)) * 2
  tokens = np.asarray(draw(KEYS, logits, top_p=0.5))
  kept = np.isfinite(np.asarray(keep_top_p(logits, 0.5)))
  assert np.take_along_axis(kept, tokens[..., None], -1).all()
  assert (tokens != np.asarray(logits.argmax(-1))).mean() > 0.3


def test_a_position_that_is_not_used_is_drawn_once():
  logits = jax.random.normal(jax.random.key(5), (64, 9, 33)) * 2
  where = jnp.arange(9) % 3 == 0
  where = jnp.broadcast_to(where, (64, 9))
  drawn = functools.partial(draw, KEYS, logits, top_p=0.5)
  some, none = drawn(where=where), drawn(where=jnp.zeros((64, 9), bool))
  kept = np.isfinite(np.asarray(keep_top_p(logits, 0.5)))
  is_in = np.take_along_axis(kept, np.asarray(some)[..., None], -1)[..., 0]
  assert is_in[where].all() and not is_in[~where].all()
  assert (some == none)[~where].all()


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
def test_top_p_keeps_what_sorting_keeps(top_p):
  logits = jax.random.normal(jax.random.key(2), (200, 33)) * 3
  kept = np.asarray(jnp.isfinite(keep_top_p(logits, top_p)))
  expected = [nucleus(softmax(row), top_p) for row in np.asarray(logits)]
  assert (kept == np.stack(expected)).all()
  assert kept[np.arange(200), np.asarray(logits.argmax(-1))].all()


def test_top_p_keeps_all_of_what_ties():
  logits = jnp.log(jnp.asarray([0.4, 0.2, 0.2, 0.1, 0.1]))
  kept = jnp.isfinite(keep_top_p(logits, 0.5))
  assert kept.tolist() == [True, True, True, False, False]


def test_top_p_so_near_one_that_rounding_reaches_it_keeps_all():
  logits = jax.random.normal(jax.random.key(3), (50, 101))
  assert jnp.isfinite(keep_top_p(logits, 1 - 1e-9)).all()


def test_neutral_settings_leave_the_logits_alone():
  logits = jnp.asarray(LOGITS)
  assert adjust_logits(logits, 1.0, 1.0) is logits
  assert adjust_logits(logits, 0.0, 0.5) is logits


@pytest.mark.parametrize("top_p", [1.0, 0.4])
def test_a_rows_draw_is_its_own(top_p):
  logits = jax.random.normal(jax.random.key(4), (64, 5, 11))
  order = np.random.default_rng(0).permutation(64)
  turned = draw(KEYS[order], logits[order], top_p=top_p)
  assert (turned == draw(KEYS, logits, top_p=top_p)[order]).all()


def test_coins_fall_by_their_probability():
  prob = jnp.tile(jnp.asarray([0.0, 1.0, 0.25, 1e-3]), (64, 500))
  heads = np.asarray(flip_coins(KEYS, prob)).reshape(-1, 4).mean(0)
  assert heads[0] == 0 and heads[1] == 1
  assert abs(heads[2] - 0.25) < 4 * (0.1875 / 32_000) ** 0.5
  assert abs(heads[3] - 1e-3) < 4 * (1e-3 / 32_000) ** 0.5


def test_probability_of_a_token_is_its_softmax():
  tokens = jnp.arange(11)[None]
  probs = token_probs(jnp.tile(LOGITS, (1, 11, 1)), tokens)[0]
  np.testing.assert_allclose(probs, softmax(LOGITS), rtol=1e-5)


@pytest.mark.slow
def test_rare_tokens_occur_as_often_as_they_should():
  """1,024 atoms of 5e-9 beside one large: 20 hits expected of 4e6 draws, 5 of 1e6."""
  logits = jnp.log(jnp.full(1025, 5e-9).at[0].set(1 - 1024 * 5e-9))
  rows, positions = 8, 500

  @functools.partial(jax.jit, static_argnums=1)
  def count(key, is_high):
    def add(i, hits):
      keys = jax.random.split(jax.random.fold_in(key, i), rows)
      if is_high:
        tokens = draw_tokens(keys, jnp.tile(logits, (rows, positions, 1)))
      else:
        tokens = jax.random.categorical(keys[0], logits, shape=(rows, positions))
      return hits + (tokens > 0).sum()

    return jax.lax.fori_loop(0, 1000 if is_high else 250, add, 0)

  assert 8 <= count(jax.random.key(0), True) <= 35
  assert count(jax.random.key(0), False) <= 1  # one draw of 23 bits: never or nearly
