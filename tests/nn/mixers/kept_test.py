"""The cache of the w best tokens: the sets of training, bit for bit, in w slots."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import (
  MIXERS,
  VALID,
  B,
  N,
  W,
  X,
  compiled,
  extend_in,
  params_of,
  run,
)

from mdm.kernels.eviction import eviction_times
from mdm.nn.mixers import kept
from mdm.nn.mixers.base import NEVER, Place
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention

G = 2
RNG = np.random.default_rng(3)
SCORES = {
  "random": RNG.normal(size=(B, G, N)),
  "tied": RNG.integers(0, 3, (B, G, N)),
  "equal": np.zeros((B, G, N)),
  "rising": np.broadcast_to(np.arange(N), (B, G, N)),
  "falling": np.broadcast_to(-np.arange(N), (B, G, N)),
  "nothing and all": RNG.choice([-np.inf, np.nan, 0.0, np.inf], (B, G, N)),
}


@functools.cache
def times():
  return jax.jit(functools.partial(eviction_times, width=W, chunk=8))


@jax.jit
def push(rank, score, start, valid):
  n = score.shape[-1]
  place = Place(start, jnp.zeros((1, n), jnp.int32), valid, None)
  return kept.push_scores(rank, score, place)


def push_in(score, blocks, valid):
  """The eviction times that come out of the cache, and its last state."""
  rank, start = kept.empty_ranks(B, G, W), 0
  ends = np.full((B, G, N), NEVER)
  for n in blocks:
    here = slice(start, start + n)
    pushed = push(rank, score[..., here], jnp.asarray(start), valid[:, here])
    old = np.asarray(rank.position)
    for b, g in np.ndindex(B, G):
      where = np.concatenate([old[b, g], np.arange(start, start + n)])
      there = where >= 0
      ends[b, g, where[there]] = np.asarray(pushed.end)[b, g][there]
    rank = pushed.rank
    start += n
  return ends, rank


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("is_padded", [False, True])
def test_pushed_tokens_leave_when_training_says_they_do(kind, is_padded):
  score = jnp.asarray(SCORES[kind], jnp.float32)
  valid = VALID if is_padded else jnp.ones((B, N), bool)
  trained = np.asarray(times()(score, valid=valid))
  for blocks in ([1] * N, [6, 1, 6], [N]):
    ends, _ = push_in(score, blocks, valid)
    np.testing.assert_array_equal(np.minimum(ends, N), trained)


@pytest.mark.parametrize("kind", SCORES)
def test_three_ways_to_the_same_set_of_slots(kind):
  score = jnp.asarray(SCORES[kind], jnp.float32)
  _, pushed = push_in(score, [6, 1, 6], VALID)
  prefilled = kept.keep_last(score, times()(score, valid=VALID), W)
  looked_up = kept.best_before(score, VALID, W)
  for other in (prefilled, looked_up):
    for one, two in zip(jax.tree.leaves(pushed), jax.tree.leaves(other), strict=True):
      order = [np.argsort(x.position, axis=-1) for x in (pushed, other)]
      np.testing.assert_array_equal(
        np.take_along_axis(np.asarray(one), order[0], -1),
        np.take_along_axis(np.asarray(two), order[1], -1),
      )


def test_a_sequence_shorter_than_the_slots_leaves_the_others_empty():
  rank = kept.keep_last(jnp.ones((1, 1, 3)), jnp.full((1, 1, 3), 3), 5)
  np.testing.assert_array_equal(rank.position[0, 0], [0, 1, 2, -1, -1])
  np.testing.assert_array_equal(rank.score[0, 0], [1, 1, 1, -np.inf, -np.inf])


def test_gathered_tokens_are_those_of_the_slots_and_zeros_where_empty():
  x = jnp.asarray(RNG.normal(size=(1, N, G, 3)), jnp.float32)
  position = jnp.array([[[2, -1], [0, 5]]])
  found = kept.gather_tokens(x, position)
  np.testing.assert_array_equal(found[0, 0], [x[0, 2, 0], np.zeros(3)])
  np.testing.assert_array_equal(found[0, 1], [x[0, 0, 1], x[0, 5, 1]])


def test_the_caches_size_does_not_depend_on_the_length():
  model = DynamicMaskAttention(4, 2, 4, window=W)
  short, long = (jax.eval_shape(lambda n=n: model.init_cache(1, n)) for n in (W, 9999))
  assert short == long and short.recent is None
  assert short.key.shape == (1, 2, W, 4) and short.rank.score.dtype == jnp.float32


def test_a_line_holds_the_last_tokens_besides_and_does_not_grow_either():
  model = MIXERS["recent"]
  short, long = (jax.eval_shape(lambda n=n: model.init_cache(1, n)) for n in (6, 9999))
  assert short == long
  assert short.key.shape == (1, 2, W, 4) and short.recent.line.key.shape == (1, 2, 6, 4)
  _, cache = extend_in("recent", [6, 1, 6])
  np.testing.assert_array_equal(cache.recent.line.position[:, 0], [range(N - 6, N)] * B)


@pytest.mark.parametrize("blocks", [[6, 1, 6], [1] * N, [N]], ids=str)
def test_no_token_is_both_in_a_slot_and_in_the_line(blocks):
  _, cache = extend_in("recent", blocks, is_fresh=len(blocks) == 1)
  for slots in np.asarray(cache.rank.position).reshape(-1, W):
    assert len(set(slots)) == W and slots.max() < N - 6  # all else is in the line


def test_tokens_beyond_a_short_line_are_refused():
  cache = MIXERS["recent"].init_cache(B, 5)  # slots for any length, 5 of 6 in line
  with pytest.raises(ValueError, match="13 tokens from position 0 do not fit in a"):
    jax.eval_shape(compiled("recent", "extend", 0), params_of("recent"), X, cache)


@pytest.mark.parametrize("name", ["full", "recent_full"])
def test_the_full_cache_takes_tokens_back(name):
  _, cache = extend_in(name, [6, 1, 6])
  for start in (7, 6):  # other tokens were there; now the right ones again
    step = compiled(name, "extend")
    real = jnp.ones((B, 6), bool)
    given = {"start": jnp.asarray(start), "valid": real}
    wrong, _ = step(params_of(name), -X[:, start : start + 6], cache, **given)
    out, _ = step(params_of(name), X[:, start : start + 6], cache, **given)
    np.testing.assert_allclose(out, run(name)[:, start : start + 6], atol=1e-5)
    assert np.abs(wrong - out).max() > 0.1
