"""Guided spans: the law of the starts, its limits, and equality with plain spans."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.guided_spans import (
  PREFERS,
  frame_confidence,
  mask_guided_spans,
  start_divergence,
  utterance_confidence,
)
from mdm.masks.keys import example_keys
from mdm.masks.spans import mask_spans

draw = jax.jit(
  mask_guided_spans,
  static_argnames=(
    "ratio", "span", "rule", "select", "prefer", "temperature", "least"
  ),
)  # fmt: skip
ROWS, N = 32, 50
LENGTHS = 10 + jnp.arange(ROWS)
CONFIDENCE = jnp.asarray(
  np.random.default_rng(0).uniform(0.05, 1, (ROWS, N)), jnp.float32
)


def row_keys(rows=ROWS):
  return example_keys(jax.random.key(0), jnp.arange(rows))


@functools.cache
def drawn(**settings):
  return np.asarray(draw(row_keys(), CONFIDENCE, LENGTHS, **settings))


def starts_of(confidence, count, rows=20_000, **settings):
  """Which frames of a short row are among its first starts."""
  s = jnp.broadcast_to(jnp.asarray(confidence, jnp.float32), (rows, len(confidence)))
  mask = draw(
    row_keys(rows),
    s,
    jnp.full(rows, s.shape[1]),
    span=1,
    ratio=count / s.shape[1],
    **settings,
  )
  return np.asarray(mask)


def test_equal_confidences_draw_the_mask_of_plain_spans():
  same = jnp.full((ROWS, N), 0.3)
  guided = draw(row_keys(), same, LENGTHS, ratio=0.4)
  plain = mask_spans(row_keys(), LENGTHS, N, rule="exact", ratio=0.4)
  assert (guided == plain).all()


def test_one_start_of_two_frames_is_drawn_by_its_confidence():
  found = starts_of([0.9, 0.3], 1).mean(0)
  np.testing.assert_allclose(found, [0.75, 0.25], atol=0.0125)  # 4 sigmas


def test_starts_follow_the_law_of_draws_without_replacement():
  s = np.array([2.0, 1.0, 1.0]) / 4
  drawn = starts_of(s, 2)
  for pair in itertools.combinations(range(3), 2):
    law = sum(
      s[first] / s.sum() * s[second] / (s.sum() - s[first])
      for first, second in itertools.permutations(pair)
    )
    found = drawn[:, pair].all(1).mean()
    assert found == pytest.approx(law, abs=0.014)  # 4 sigmas; 5/12 for the first two
  assert (drawn.sum(1) == 2).all()


def test_a_share_is_reached_and_overshot_by_less_than_a_span():
  for prefer in PREFERS:
    hidden = drawn(prefer=prefer, ratio=0.4).sum(1)
    assert (hidden >= 0.4 * np.asarray(LENGTHS) - 1e-4).all()
    assert (hidden < 0.4 * np.asarray(LENGTHS) + 10).all()


def test_nothing_is_drawn_in_padding_whatever_is_there():
  padding = np.arange(N) >= np.asarray(LENGTHS)[:, None]
  for garbage in (np.nan, 1e9, 0.0):
    s = jnp.where(padding, garbage, CONFIDENCE)
    for select in ("sample", "topk"):
      mask = draw(row_keys(), s, LENGTHS, select=select)
      assert (np.asarray(mask) == drawn(select=select)).all()
      assert not (mask & padding).any()


def test_a_factor_on_all_confidences_changes_nothing():
  mask = draw(row_keys(), 0.25 * CONFIDENCE, LENGTHS)
  assert (np.asarray(mask) == drawn()).all()


def test_low_is_high_of_the_complement():
  complement = draw(row_keys(), 1.0 - CONFIDENCE, LENGTHS, prefer="high")
  assert (np.asarray(complement) == drawn(prefer="low")).all()


def test_the_surest_frames_are_the_limit_of_low_temperatures():
  limit = drawn(select="sample", temperature=1e-5)
  assert (limit == drawn(select="topk")).all()


def test_the_surest_frames_are_hidden_whatever_the_key():
  mask = starts_of([0.1, 0.9, 0.5, 0.8], 2, rows=20, select="topk")
  assert (mask == [False, True, False, True]).all()
  ties = starts_of([0.5, 0.5], 1, rows=400, select="topk").mean(0)
  np.testing.assert_allclose(ties, 0.5, atol=0.1)


def test_mixed_takes_half_of_its_starts_where_confidence_is_low():
  s = [0.999] * 10 + [0.001] * 10
  high, mixed, low = (
    starts_of(s, 4, rows=400, prefer=p)[:, :10].sum(1) for p in ("high", "mixed", "low")
  )
  assert high.mean() > 3.9 and low.mean() < 0.1
  assert ((mixed == 2).mean()) > 0.95


def test_a_count_of_starts_is_that_of_uniform_masking():
  mask = drawn(rule="count", ratio=0.4, span=10)
  count = np.floor((1 - 0.6**0.1) * np.asarray(LENGTHS) + 0.5)
  assert (mask.sum(1) <= 10 * np.maximum(count, 1)).all()
  ones = starts_of([0.5] * 20, 8, rows=4, rule="count")
  assert (ones.sum(1) == 8).all()


def test_confidences_of_zero_are_drawn_from_uniformly():
  found = starts_of([0.0, 0.0, 0.0], 1, rows=6_000).mean(0)
  np.testing.assert_allclose(found, 1 / 3, atol=0.025)


def test_confidence_is_the_largest_probability_with_or_without_blank():
  logits = jnp.log(jnp.array([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]]))
  np.testing.assert_allclose(frame_confidence(logits), [[0.6, 0.6]], rtol=1e-5)
  without = frame_confidence(logits, blank=0)
  np.testing.assert_allclose(without, [[0.75, 0.75]], rtol=1e-5)
  gradient = jax.grad(lambda x: frame_confidence(x, blank=0).sum())(logits)
  assert (gradient == 0).all()


def test_an_utterance_weighs_its_mean_over_real_frames():
  s = jnp.array([[0.5, 1.0, jnp.nan], [0.2, 0.2, 0.2], [0.9, 0.9, 0.9]])
  found = utterance_confidence(s, jnp.array([2, 3, 0]))
  np.testing.assert_allclose(found, [0.75, 0.2, 0.0], rtol=1e-6)


def test_the_divergence_is_that_of_the_first_start():
  s = jnp.array([[0.9, 0.3, jnp.nan], [0.4, 0.4, 0.4], [0.9, 0.9, 0.9]])
  found = start_divergence(s, jnp.array([2, 3, 0]))
  p = np.array([0.75, 0.25])
  np.testing.assert_allclose(found, [(p * np.log(2 * p)).sum(), 0, 0], atol=1e-6)
  low = start_divergence(s[:1], jnp.array([2]), prefer="low")
  p = np.array([0.1, 0.7]) / 0.8
  np.testing.assert_allclose(low, [(p * np.log(2 * p)).sum()], rtol=1e-5)


@pytest.mark.parametrize(
  ("settings", "answer"),
  [
    ({"rule": "bernoulli"}, "rule = 'bernoulli' is unknown"),
    ({"select": "best"}, "select = 'best' is unknown"),
    ({"prefer": "middle"}, "prefer = 'middle' is unknown"),
    ({"temperature": 0.0}, "select='topk' is its limit"),
    ({"ratio": 40.0}, "ratio = 40.0 lies outside"),
  ],
)
def test_settings_that_are_none_are_refused(settings, answer):
  with pytest.raises(ValueError, match=answer):
    mask_guided_spans(row_keys(), CONFIDENCE, LENGTHS, **settings)
