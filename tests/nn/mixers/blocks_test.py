"""Blocks of keys against loops over tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.mixers import blocks
from mdm.nn.mixers.base import Stored
from mdm.nn.mixers.blocks import Asked, Grid
from mdm.nn.rotary import KeyValue

B, M, G, H, K = 2, 22, 2, 4, 4
GRID = Grid(
  block=4, stride=2, select_block=6, num_blocks=2, num_local=1, keeps_first=False
)
RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(B, M, H, K)).astype(np.float32)
KEY, VALUE = RNG.normal(size=(2, B, M, G, K)).astype(np.float32)
VALID = RNG.random((B, M)) < 0.8
VALID[0, 8:12] = False  # a whole block
STORED = Stored(KeyValue(jnp.asarray(KEY), jnp.asarray(VALUE)), jnp.asarray(VALID))
RUNS = blocks.whole_runs(M)
ROWS = jnp.arange(M)


def whole(c):
  return c * 2 + 3 < M


def compressed():
  """Shares of all complete blocks, and mixed values, one query at a time."""
  means = blocks.compress(STORED, GRID)
  share = np.zeros((B, M, H, means.valid.shape[1]))
  mixed = np.zeros((B, M, H, K))
  for b, i, h in np.ndindex(B, M, H):
    seen = [
      c for c in range(11) if c * 2 + 3 <= i and VALID[b, c * 2 : c * 2 + 4].any()
    ]
    if seen:
      score = np.asarray(means.pairs.key)[b, seen, h // 2] @ QUERY[b, i, h] / 2
      part = np.exp(score - score.max())
      share[b, i, h, seen] = part / part.sum()
      mixed[b, i, h] = (
        share[b, i, h, seen] @ np.asarray(means.pairs.value)[b, seen, h // 2]
      )
  return share, mixed


def lse_of(query, means):
  intervals = blocks.block_intervals(means.valid, RUNS.stop, GRID)
  return blocks.interval_attention(
    jnp.asarray(query), *means.pairs, intervals, positions=ROWS
  )


def test_means_are_over_the_real_tokens_of_each_block():
  means = blocks.compress(STORED, GRID)
  assert means.valid.shape == (B, 11)
  for b, c in np.ndindex(B, 11):
    here = np.arange(c * 2, min(c * 2 + 4, M))
    real = here[VALID[b, here]]
    assert means.valid[b, c] == (len(real) > 0)
    for mean, x in zip(means.pairs, (KEY, VALUE), strict=True):
      wanted = x[b, real].mean(0) if len(real) else np.zeros((G, K))
      np.testing.assert_allclose(mean[b, c], wanted, atol=1e-6)


def test_the_compressed_branch_sees_blocks_that_have_ended_and_else_gives_zero():
  out, lse = lse_of(QUERY, blocks.compress(STORED, GRID))
  _, wanted = compressed()
  np.testing.assert_allclose(out, wanted, atol=1e-5)
  assert (out[:, :3] == 0).all() and (lse[:, :3] == jnp.inf).all()


def test_importance_counts_a_block_once_for_each_stride_it_shares_summed_over_heads():
  means = blocks.compress(STORED, GRID)
  asked = Asked(jnp.asarray(QUERY), ROWS, lse_of(QUERY, means).lse, RUNS.first)
  intervals = blocks.block_intervals(means.valid, RUNS.stop, GRID)
  found = blocks.importance(asked, means.pairs.key, intervals, GRID)
  share, _ = compressed()
  wanted = np.zeros((B, M, G, 4))
  for c, j in np.ndindex(11, 4):
    strides = len({c, c + 1} & {3 * j, 3 * j + 1, 3 * j + 2})
    wanted[..., j] += strides * share[..., c].reshape(B, M, G, 2).sum(-1)
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_heaviest_blocks_are_selected_after_those_that_must_be():
  weight = jnp.asarray(RNG.random((1, M, 1, 4)), jnp.float32)
  for local, first in ((1, False), (2, False), (1, True)):
    grid = GRID._replace(num_blocks=3, num_local=local, keeps_first=first)
    index, live = blocks.select_blocks(weight, ROWS, RUNS.first, grid)
    for i in range(M):
      own = i // 6
      forced = {own - a for a in range(local)} | ({0} if first else set())
      forced = {s for s in forced if s >= 0}
      rest = sorted(set(range(own + 1)) - forced, key=lambda s: -weight[0, i, 0, s])
      wanted = forced | set(rest[: 3 - len(forced)])
      assert set(np.asarray(index)[0, i, 0][np.asarray(live)[0, i, 0]]) == wanted


@functools.cache
def selected(num_blocks, valid=True):
  grid = GRID._replace(num_blocks=num_blocks)
  stored = STORED if valid else STORED._replace(valid=jnp.ones((B, M), bool))
  means = blocks.compress(stored, grid)

  def attend(query, pairs, lse):
    asked = Asked(query, ROWS, lse, RUNS.first)
    return blocks.attend_selected(
      asked, stored._replace(pairs=pairs), means, RUNS.stop, grid, "reference"
    )

  return jax.jit(attend), lse_of(QUERY, means).lse


def dense(visible):
  """Attention of every query over the tokens that are visible to it: b m h m."""
  key, value = (np.repeat(x, 2, axis=2) for x in (KEY, VALUE))
  score = np.einsum("bnhk,bmhk->bnhm", QUERY, key) / 2
  part = np.where(visible, np.exp(score), 0.0)
  return np.einsum("bnhm,bmhk->bnhk", part / part.sum(-1, keepdims=True), value)


def test_selected_blocks_are_attended_causally():
  attend, lse = selected(2)
  out = attend(jnp.asarray(QUERY), STORED.pairs, lse)
  means = blocks.compress(STORED, GRID)
  asked = Asked(jnp.asarray(QUERY), ROWS, lse, RUNS.first)
  intervals = blocks.block_intervals(means.valid, RUNS.stop, GRID)
  weight = blocks.importance(asked, means.pairs.key, intervals, GRID)
  index, live = blocks.select_blocks(weight, ROWS, RUNS.first, GRID)
  visible = np.zeros((B, M, H, M), bool)
  for b, i, h, t in np.ndindex(B, M, H, 2):
    if live[b, i, h // 2, t]:
      begin = int(index[b, i, h // 2, t]) * 6
      visible[b, i, h, begin : min(begin + 6, i + 1)] = True
  visible &= VALID[:, None, None]
  some = visible.any(-1)
  wanted = np.where(
    some[..., None], np.nan_to_num(dense(visible | ~some[..., None])), 0
  )
  np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_all_blocks_selected_is_dense_causal_attention():
  attend, lse = selected(4, valid=False)
  out = attend(jnp.asarray(QUERY), STORED.pairs, lse)
  causal = np.broadcast_to(np.tri(M, dtype=bool)[None, :, None], (B, M, H, M))
  np.testing.assert_allclose(out, dense(causal), atol=1e-5)


def test_queries_in_parts_give_what_they_give_at_once(monkeypatch):
  attend, lse = selected(2)
  query = jnp.asarray(QUERY)

  def energy(attend, query, pairs):
    return (attend(query, pairs, lse) ** 2).sum()

  def both(attend):
    step = jax.value_and_grad(functools.partial(energy, attend), argnums=(0, 1))
    return jax.jit(step)(query, STORED.pairs)

  once = both(attend)
  monkeypatch.setattr(blocks, "QUERIES", 8)
  parts = both(selected.__wrapped__(2)[0])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), once, parts
  )


def test_the_choice_of_blocks_has_no_gradient():
  attend, lse = selected(2)
  grad = jax.grad(lambda lse: attend(jnp.asarray(QUERY), STORED.pairs, lse).sum())(lse)
  assert (grad == 0).all()


@pytest.mark.parametrize("border", [6, 12])
def test_blocks_across_a_border_are_seen_by_nobody(border):
  stop = jnp.where(jnp.arange(M) < border, border, M)[None]
  valid = jnp.ones((1, 11), bool)
  start, end = blocks.block_intervals(valid, stop, GRID)
  across = (np.arange(11) * 2 < border) & (np.arange(11) * 2 + 3 >= border)
  assert across.any() and (end <= start)[0, 0, across].all()
  assert (end > start)[0, 0, ~across & (np.arange(11) * 2 + 3 < M)].all()
