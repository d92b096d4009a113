"""Eviction times against the definition, in both forms, and what decides them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels.eviction import (
  eviction_times,
  keep_recent,
  match_places,
  survivors,
)
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals, window_intervals

N = 53  # no multiple of the chunk
RANDOM = np.random.default_rng(0)
PATTERNS = {
  "random": RANDOM.normal(size=N),
  "tied": RANDOM.integers(0, 4, N),
  "constant": np.ones(N),
  "rising": np.arange(N),
  "falling": -np.arange(N),
  "infinite": RANDOM.choice([-np.inf, 0.0, -0.0, np.inf], N),
}
SCORE = jnp.asarray(np.stack(list(PATTERNS.values()))[:, None], jnp.float32)  # b 1 n
FORMS = pytest.mark.parametrize("is_parallel", [False, True], ids=["scan", "at once"])


@functools.partial(jax.jit, static_argnames=("width", "chunk", "is_parallel"))
def times(score, width, chunk=16, is_parallel=False, valid=None, segments=None):
  return eviction_times(
    score, width, valid=valid, segments=segments, chunk=chunk, is_parallel=is_parallel
  )


def kept_by_definition(score, width, valid, segments):
  """n n: the best `width` keys up to each query, real and of its segment."""
  kept = np.zeros((len(score), len(score)), bool)
  for i in range(len(score)):
    seen = [j for j in range(i + 1) if valid[j] and segments[j] == segments[i]]
    kept[i, sorted(seen, key=lambda j: (-score[j], -j))[:width]] = True
  return kept


def mask(end):
  """n n: who keeps what, from eviction times."""
  i = np.arange(len(end))
  return (i[None] <= i[:, None]) & (i[:, None] < np.asarray(end)[None])


@FORMS
@pytest.mark.parametrize("width", [1, 7, N, 2 * N])
def test_a_query_keeps_the_best_keys_up_to_itself_the_latest_among_equals(
  width, is_parallel
):
  end = times(SCORE, width, is_parallel=is_parallel)
  for name, score, e in zip(PATTERNS, SCORE[:, 0], end[:, 0], strict=True):
    everywhere = np.ones(N, bool)
    expected = kept_by_definition(np.asarray(score), width, everywhere, everywhere)
    np.testing.assert_array_equal(mask(e), expected, err_msg=name)
    assert (mask(e).sum(1) == np.minimum(width, np.arange(N) + 1)).all()


@FORMS
def test_packed_and_padded_keys_compete_only_in_their_segment(is_parallel):
  valid = RANDOM.random((len(SCORE), N)) < 0.8
  segments = np.cumsum(RANDOM.random((len(SCORE), N)) < 0.08, axis=1)
  end = times(
    SCORE, 5, is_parallel=is_parallel, valid=valid, segments=jnp.asarray(segments)
  )
  for b in range(len(SCORE)):
    expected = kept_by_definition(np.asarray(SCORE[b, 0]), 5, valid[b], segments[b])
    # A key stays while queries of its segment last, be they padding themselves.
    np.testing.assert_array_equal(mask(end[b, 0]), expected)


def test_packed_segments_are_separate_sequences():
  score = SCORE[:2, :, :48]
  packed = times(score, 4, segments=jnp.asarray([[3] * 24 + [1] * 24] * 2))
  apart = times(score.reshape(4, 1, 24), 4).reshape(2, 1, 2, 24)
  apart += jnp.asarray([0, 24])[:, None]
  np.testing.assert_array_equal(packed, apart.reshape(2, 1, 48))


def test_chunks_change_nothing():
  ends = [times(SCORE, 7, chunk=chunk) for chunk in (1, 16, 64)]
  assert all((ends[0] == end).all() for end in ends[1:])


def test_equal_and_rising_scores_are_a_window_and_falling_ones_keep_the_first_keys():
  end = dict(zip(PATTERNS, np.asarray(times(SCORE, 7))[:, 0], strict=True))
  window = window_intervals(N, 7).end[0, 0]
  np.testing.assert_array_equal(end["constant"], window)
  np.testing.assert_array_equal(end["rising"], window)
  np.testing.assert_array_equal(end["falling"], [N] * 7 + list(range(7, N)))


def test_scores_in_half_precision_are_compared_as_their_float32():
  half = SCORE[:1].astype(jnp.bfloat16)
  np.testing.assert_array_equal(times(half, 7), times(half.astype(jnp.float32), 7))


def test_the_order_of_scores_decides_alone():
  steep = times(jnp.exp(5 * jax.nn.softplus(SCORE[:2])), 7)
  np.testing.assert_array_equal(steep, times(SCORE[:2], 7))


def test_nan_is_the_lowest_score_and_equals_none_but_the_lowest():
  score = SCORE[:1].at[..., 20:25].set(jnp.nan)
  lowest = SCORE[:1].at[..., 20:25].set(-jnp.inf)
  np.testing.assert_array_equal(times(score, 7), times(lowest, 7))


def test_later_scores_change_no_earlier_query():
  later = times(SCORE.at[..., 30:].add(3.0), 7)
  for a, b in zip(times(SCORE, 7)[:, 0], later[:, 0], strict=True):
    np.testing.assert_array_equal(mask(a)[:30], mask(b)[:30])


def kept_with_recent(score, width, recent, valid, segments):
  """n n: the last `recent` positions, and the best `width` keys of those before."""
  kept = np.zeros((len(score), len(score)), bool)
  for i in range(len(score)):
    seen = [j for j in range(i + 1) if valid[j] and segments[j] == segments[i]]
    old = [j for j in seen if j <= i - recent]
    kept[i, sorted(old, key=lambda j: (-score[j], -j))[:width]] = True
    kept[i, [j for j in seen if j > i - recent]] = True
  return kept


@pytest.mark.parametrize("recent", [0, 1, 5, 12, N, 2**31 - 1])
def test_recent_keys_are_kept_besides_the_best_of_those_before(recent):
  held = keep_recent(times(SCORE, 7), recent)
  everywhere = np.ones(N, bool)
  for name, score, e in zip(PATTERNS, SCORE[:, 0], held[:, 0], strict=True):
    rule = np.asarray(score), 7, recent, everywhere, everywhere
    np.testing.assert_array_equal(mask(e), kept_with_recent(*rule), err_msg=name)
    assert (mask(e).sum(1) == np.minimum(7 + recent, np.arange(N) + 1)).all()


def test_recent_keys_hold_all_that_the_best_and_the_last_hold():
  held, plain, near = (
    mask(e[0, 0])
    for e in (
      keep_recent(times(SCORE, 7), 5),
      times(SCORE, 7),
      window_intervals(N, 5).end,
    )
  )
  assert (held >= (plain | near)).all() and held.sum() > (plain | near).sum()


def test_recent_keys_end_with_their_segment_and_padding_is_never_one():
  valid = RANDOM.random((len(SCORE), N)) < 0.8
  segments = np.cumsum(RANDOM.random((len(SCORE), N)) < 0.08, axis=1)
  which = {"valid": jnp.asarray(valid), "segments": jnp.asarray(segments)}
  held = keep_recent(times(SCORE, 3, **which), 6, **which)
  for b in range(len(SCORE)):
    rule = np.asarray(SCORE[b, 0]), 3, 6, valid[b], segments[b]
    np.testing.assert_array_equal(mask(held[b, 0]), kept_with_recent(*rule))


@functools.partial(jax.jit, static_argnames=("recent", "width", "chunk"))
def attend(recent, width, chunk):
  """The first 48 positions, as chunks of gathered keys or whole."""
  query, key, value = jax.random.normal(jax.random.key(0), (3, len(SCORE), 48, 1, 4))
  end = keep_recent(eviction_times(SCORE[..., :48], 5), recent)
  intervals = Intervals(jnp.broadcast_to(jnp.arange(48), end.shape), end)
  return interval_attention(
    query, key, value, intervals, width=width, chunk=chunk, backend="xla"
  ).out


@pytest.mark.parametrize("recent", [1, 4, 20])
def test_chunks_of_gathered_keys_hold_the_best_and_the_recent(recent):
  whole = attend(recent, None, None)
  np.testing.assert_allclose(attend(recent, 5 + recent, 8), whole, atol=1e-6)
  fewer = attend(recent, 3 + recent, 8)  # 4 + recent before a chunk's own keys
  assert np.abs(fewer - whole).max() > 1e-3


def test_a_negative_number_of_recent_keys_is_refused():
  with pytest.raises(ValueError, match="recent = -2 counts no tokens; give 0 for"):
    keep_recent(times(SCORE, 7), -2)


def test_survivors_are_what_the_last_query_keeps_in_order_of_position():
  end = times(SCORE, 7)
  for e, found in zip(end[:, 0], survivors(end, 9)[:, 0], strict=True):
    np.testing.assert_array_equal(found, [*np.flatnonzero(mask(e)[-1]), -1, -1])


def test_free_places_are_filled_in_order_and_the_rest_stay_empty():
  is_free = jnp.asarray([True, False, True, True])
  enters = jnp.asarray([False, True, False, False, True])
  np.testing.assert_array_equal(match_places(is_free, enters), [1, -1, 4, -1])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"width": 0}, "width = 0 lets a query keep nothing"),
    ({"width": 4, "chunk": 0}, "chunk = 0 decides nothing"),
    (
      {"width": 4, "segments": jnp.asarray([[1] * 30 + [2] * 20 + [1] * 3])},
      "segment 1",
    ),
  ],
)
def test_bad_input_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    eviction_times(SCORE[:1], **options)


def test_positions_beyond_int32_are_refused():
  score = jax.ShapeDtypeStruct((1, 1, 2**31), jnp.float32)
  with pytest.raises(ValueError, match="do not fit int32; shard the sequence"):
    jax.eval_shape(lambda score: eviction_times(score, 4), score)
