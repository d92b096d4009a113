"""Scores against the likelihood they bound."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import PAIR, TRIPLE

from mdm.decoding.likelihood import (
  Score,
  nelbo,
  nelbo_by_count,
  nelbo_exact,
  rate_of,
  token_nats,
)
from mdm.masks.keys import example_keys
from mdm.masks.schedule import MaskSchedule

KEYS = example_keys(jax.random.key(0), jnp.arange(512))
NATS = -np.log(TRIPLE.flat)


def keys_of(tokens):
  return KEYS[: len(tokens)]


def uniform(tokens, t):
  return jnp.zeros((*tokens.shape, 27))


@pytest.mark.parametrize("joint", [PAIR, TRIPLE])
def test_true_conditionals_score_the_likelihood_exactly(joint):
  texts = jnp.asarray(joint.texts, jnp.int32)
  score = nelbo_exact(
    joint.predict, texts, jnp.ones(texts.shape, bool), mask_id=joint.mask_id
  )
  np.testing.assert_allclose(score.nats, -np.log(joint.flat), rtol=2e-5)
  assert (score.error == 0).all()


def test_a_prompt_gives_the_conditional_likelihood_of_the_rest():
  texts = jnp.asarray(TRIPLE.texts, jnp.int32)
  can_hide = jnp.asarray(np.broadcast_to([True, False, True], texts.shape))
  score = nelbo_exact(TRIPLE.predict, texts, can_hide, mask_id=3)
  middle = TRIPLE.probs.sum((0, 2))[TRIPLE.texts[:, 1]]
  np.testing.assert_allclose(score.nats, NATS + np.log(middle), rtol=2e-5)
  assert not nelbo_exact(TRIPLE.predict, texts, texts < 0, mask_id=3).nats.any()


def test_subsets_of_each_size_have_one_position_of_weight_in_all():
  """C(L, k) k / (k C(L, k)) = 1 for each k; row k - 1 costs 1 nat with k hidden."""

  def predict(tokens, t):
    is_size = (tokens == 2).sum(-1) == jnp.arange(1, 5)
    right = jnp.where(is_size, jnp.exp(-1.0), 1.0)[:, None]
    logits = jnp.log(jnp.stack([right, 1 - right], axis=-1))
    return jnp.broadcast_to(logits, (4, 4, 2))

  tokens = jnp.zeros((4, 4), jnp.int32)
  score = nelbo_exact(predict, tokens, tokens == 0, mask_id=2)
  np.testing.assert_allclose(score.nats, 1.0, rtol=1e-5)


@functools.cache
def estimates(kind):
  """Each of the 27 texts scored by 18 keys, with few samples to a score."""
  texts = jnp.asarray(np.tile(TRIPLE.texts, (18, 1)), jnp.int32)
  can_hide = jnp.ones(texts.shape, bool)
  named = {
    "linear": functools.partial(nelbo, num_strata=64),
    "cosine": functools.partial(nelbo, num_strata=64, schedule=MaskSchedule("cosine")),
    "count": functools.partial(nelbo_by_count, num_samples=8),
  }[kind]
  score = jax.jit(
    lambda: named(TRIPLE.predict, texts, can_hide, keys_of(texts), mask_id=3)
  )()
  return np.asarray(score.nats).reshape(18, 27), np.asarray(score.error).reshape(18, 27)


@pytest.mark.parametrize("kind", ["linear", "cosine", "count"])
def test_estimates_are_unbiased_and_no_worse_than_their_error_says(kind):
  nats, error = estimates(kind)
  off = nats - NATS
  assert abs(off.mean()) < 4 * off.std() / off.size**0.5
  assert 0.3 < (off**2).mean() / (error**2).mean() < 1.3


def test_counting_varies_less_than_hiding_each_token_by_itself():
  """Although it takes an eighth of the calls here."""
  assert estimates("count")[0].std(0).mean() < estimates("linear")[0].std(0).mean()


def test_a_predictor_that_knows_nothing_costs_l_log_v_without_any_variance():
  tokens = jnp.zeros((16, 12), jnp.int32)
  can_hide = jnp.arange(12) < jnp.arange(1, 13).repeat(2)[:16, None]
  length = np.asarray(can_hide.sum(-1))
  score = nelbo_by_count(
    uniform, tokens, can_hide, KEYS[:16], mask_id=27, num_samples=5
  )
  np.testing.assert_allclose(score.nats, length * np.log(27), rtol=1e-6)
  np.testing.assert_allclose(score.error, 0, atol=1e-5)


def test_hiding_by_itself_costs_l_log_v_on_average():
  tokens = jnp.zeros((256, 16), jnp.int32)
  score = nelbo(uniform, tokens, tokens == 0, KEYS[:256], mask_id=27, num_strata=32)
  mean, error = score.nats.mean(), jnp.sqrt((score.error**2).sum()) / 256
  assert abs(mean - 16 * np.log(27)) < 4 * error


def test_one_sample_is_exact_for_an_answer_of_one_token():
  texts = jnp.asarray(TRIPLE.texts, jnp.int32)
  can_hide = jnp.asarray(np.broadcast_to([False, False, True], texts.shape))
  score = nelbo_by_count(
    TRIPLE.predict, texts, can_hide, keys_of(texts), mask_id=3, num_samples=1
  )
  before = TRIPLE.probs.sum(-1)[TRIPLE.texts[:, 0], TRIPLE.texts[:, 1]]
  np.testing.assert_allclose(score.nats, NATS + np.log(before), rtol=2e-5)
  assert jnp.isinf(score.error).all()


def test_a_row_is_scored_alike_among_other_rows():
  tokens = jax.random.randint(jax.random.key(2), (8, 5), 0, 4)
  can_hide = jax.random.bernoulli(jax.random.key(3), 0.8, (8, 5))

  def predict(x, t):
    return jnp.cos(jnp.arange(4.0) + x[..., None] + x.sum(-1)[:, None, None])

  for score in (nelbo, nelbo_by_count):
    rate = jax.jit(lambda x, c, k, score=score: score(predict, x, c, k, mask_id=4).nats)
    order = jnp.asarray([3, 1, 0, 7, 2, 6, 5, 4])
    turned = rate(tokens[order], can_hide[order], KEYS[order])
    np.testing.assert_allclose(
      turned, rate(tokens, can_hide, KEYS[:8])[order], rtol=1e-6
    )


def test_nats_are_float32_and_padding_that_is_no_class_costs_nothing():
  logits = jax.random.normal(jax.random.key(0), (1, 3, 5), jnp.bfloat16)
  nats = token_nats(logits, jnp.asarray([[4, 5, -1]]))
  assert nats.dtype == jnp.float32
  expected = -jax.nn.log_softmax(logits.astype(jnp.float32))[0, 0, 4]
  np.testing.assert_allclose(nats[0], [expected, 0, 0], rtol=1e-6)


def test_rates_are_per_token_with_their_errors():
  rate = rate_of(Score(jnp.asarray([6.0, 4.0]), jnp.asarray([0.3, 0.4])), 5)
  assert rate.bits == pytest.approx(2 / np.log(2))
  assert rate.bits_error == pytest.approx(0.1 / np.log(2))
  assert rate.perplexity == pytest.approx(np.exp(2))
  assert rate.perplexity_error == pytest.approx(0.1 * np.exp(2))


def test_too_long_a_row_for_an_exact_score_is_refused():
  tokens = jnp.zeros((1, 17), jnp.int32)
  with pytest.raises(ValueError, match=r"takes 2\^17 - 1 calls"):
    nelbo_exact(uniform, tokens, tokens == 0, mask_id=27)
