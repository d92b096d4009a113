"""Blocks of keys: their means, which of them a query selects, and attention to those.

Pure functions. Compressed block c is the mean of the tokens c s, ..., c s + l - 1 (of
length l; the stride s divides it); selected block j holds the tokens j l', ..., j l' +
l' - 1 (s divides l' too). A query sees a compressed block once it has ended.

Source: *Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse
Attention*, Yuan et al., 2025, section 3.3: equations 7 (compression), 8-10 (importance
and its sum over a group's heads) and 11-12 (selection).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals
from mdm.nn.mixers.base import NEVER, Stored
from mdm.nn.rotary import KeyValue

QUERIES = 64  # that gather their selected blocks at once; bounds memory, nothing else


class Grid(NamedTuple):
  """How tokens are cut into blocks, and how many of them a query selects."""

  block: int
  stride: int
  select_block: int
  num_blocks: int
  num_local: int
  keeps_first: bool


class Means(NamedTuple):
  """Mean keys and values of c blocks, and whether any of their tokens is real."""

  pairs: KeyValue
  valid: Bool[Array, "b c"]


class Runs(NamedTuple):
  """The segment around tokens: where a query's begins, where a key's ends."""

  first: Int[Array, "#b n"]
  stop: Int[Array, "#b m"]


class Asked(NamedTuple):
  """Queries, their positions, their sums over compressed blocks, their segment."""

  query: Float[Array, "b n h k"]
  row: Int[Array, "n"]
  lse: Float[Array, "b n h"]
  first: Int[Array, "#b n"]


def compress(stored: Stored, grid: Grid) -> Means:
  """Means over the real tokens of each block that begins among the m tokens.

  Blocks that end beyond them are means of what there is.
  """
  m, reach = stored.valid.shape[1], grid.block // grid.stride
  count = -(-m // grid.stride)

  def add(x: Float[Array, "b m *dims"]) -> Float[Array, "b c *dims"]:
    """Sums over blocks: over strides first, then over the strides of a block."""
    room = [(0, 0)] * x.ndim
    room[1] = (0, (count + reach - 1) * grid.stride - m)
    x = jnp.where(stored.valid.reshape(*stored.valid.shape, *[1] * (x.ndim - 2)), x, 0)
    x = jnp.pad(x.astype(jnp.float32), room)
    x = x.reshape(x.shape[0], -1, grid.stride, *x.shape[2:]).sum(axis=2)
    return _sum_strides(x, reach, 1)

  weight = add(stored.valid.astype(jnp.float32))  # b c
  share = 1.0 / jnp.maximum(weight, 1.0)[..., None, None]
  pairs = jax.tree.map(lambda x: (add(x) * share).astype(x.dtype), stored.pairs)
  return Means(pairs, weight > 0)


def block_intervals(
  valid: Bool[Array, "b c"], stop: Int[Array, "#b m"], grid: Grid
) -> Intervals:
  """Who sees compressed blocks: queries from their last token on, in the segment."""
  begin = jnp.arange(valid.shape[1], dtype=jnp.int32) * grid.stride  # c
  start = (begin + grid.block - 1)[None, None]  # 1 1 c
  return Intervals(start, jnp.where(valid, stop[:, begin], 0)[:, None])  # b 1 c


def importance(
  asked: Asked, key: Float[Array, "b c g k"], intervals: Intervals, grid: Grid
) -> Float[Array, "b n g s"]:
  """What each block to select got of the compressed softmax, over a group's heads.

  Equation 9: a compressed block counts once for every stride it shares with the block.
  """
  b, n, h, k = asked.query.shape
  c, g = key.shape[1:3]
  query = asked.query.reshape(b, n, g, h // g, k)
  score = k**-0.5 * jnp.einsum(
    "bngrk,bcgk->bngrc", query, key, preferred_element_type=jnp.float32
  )
  start, end = (x[:, :, None, None] for x in intervals)  # #b 1 1 1 c
  row = asked.row[:, None, None, None]  # n 1 1 1
  share = jnp.exp(score - asked.lse.reshape(b, n, g, h // g, 1))
  share = jnp.where((start <= row) & (row < end), share, 0.0).sum(axis=3)  # b n g c
  reach, per = grid.block // grid.stride, grid.select_block // grid.stride
  count = -(-c // per)
  share = jnp.pad(share, [(0, 0)] * 3 + [(reach - 1, count * per - c)])
  share = _sum_strides(share, reach, 3)  # what each stride got: b n g s*per
  return share.reshape(b, n, g, count, per).sum(axis=-1)


def _sum_strides(x: Float[Array, "*dims"], reach: int, axis: int) -> Array:
  """Sums of `reach` neighbours along an axis, which gets shorter by reach - 1."""
  count = x.shape[axis] - reach + 1
  parts = (jax.lax.slice_in_dim(x, i, i + count, axis=axis) for i in range(reach))
  return functools.reduce(jnp.add, parts)


def select_blocks(
  weight: Float[Array, "b n g s"],
  row: Int[Array, "n"],
  first: Int[Array, "#b n"],
  grid: Grid,
) -> tuple[Int[Array, "b n g t"], Bool[Array, "b n g t"]]:
  """The t <= num_blocks heaviest blocks of each query, and which of these there are.

  The query's own block and the `num_local` - 1 before it come before all others, and
  the first one where the grid keeps it. None lies in the future or before `first`.
  """
  number = jnp.arange(weight.shape[-1], dtype=jnp.int32)
  own = (row // grid.select_block)[:, None, None]  # n 1 1
  lowest = (first // grid.select_block)[..., None, None]  # #b n 1 1
  is_forced = number > own - grid.num_local
  if grid.keeps_first:
    is_forced = is_forced | (number == lowest)
  weight = jnp.where(is_forced, jnp.inf, weight)
  weight = jnp.where((number <= own) & (number >= lowest), weight, -jnp.inf)
  best, index = jax.lax.top_k(weight, min(grid.num_blocks, weight.shape[-1]))
  return index, best > -jnp.inf


def attend_selected(
  asked: Asked,
  stored: Stored,
  means: Means,
  stop: Int[Array, "#b m"],
  grid: Grid,
  backend: str,
) -> Float[Array, "b n h k"]:
  """Causal attention to the selected blocks; the selection has no gradient."""
  n = asked.query.shape[1]
  if n <= QUERIES:
    return _attend_some(asked, stored, means, stop, grid, backend)
  count = -(-n // QUERIES)

  def cut(x: Array, axis: int, fill: int = 0) -> Array:
    """Parts of QUERIES queries, parts first."""
    room = [(0, 0)] * x.ndim
    room[axis] = (0, count * QUERIES - n)
    x = jnp.pad(x, room, constant_values=fill)
    shape = (*x.shape[:axis], count, QUERIES, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)

  parts = Asked(
    *(cut(asked.query, 1), cut(asked.row, 0, -1), cut(asked.lse, 1)),
    cut(asked.first, 1),
  )
  some = jax.checkpoint(
    lambda part: _attend_some(part, stored, means, stop, grid, backend)
  )
  mixed = jnp.moveaxis(jax.lax.map(some, parts), 0, 1)  # b parts QUERIES h k
  return mixed.reshape(mixed.shape[0], -1, *mixed.shape[3:])[:, :n]


def _attend_some(
  asked: Asked,
  stored: Stored,
  means: Means,
  stop: Int[Array, "#b m"],
  grid: Grid,
  backend: str,
) -> Float[Array, "b n h k"]:
  """`attend_selected` for queries that are few enough: each is a row of a batch."""
  b, n, h, k = asked.query.shape
  m, g = stored.pairs.key.shape[1:3]
  still = jax.lax.stop_gradient((asked, means.pairs.key))
  weight = importance(*still, block_intervals(means.valid, stop, grid), grid)
  index, is_live = select_blocks(weight, asked.row, asked.first, grid)
  token = index[..., None] * grid.select_block + jnp.arange(grid.select_block)
  seen = is_live[..., None] & (token <= asked.row[:, None, None, None])
  token, seen = (x.reshape(b, n, g, -1).swapaxes(1, 2) for x in (token, seen))
  seen &= token < m
  token = jnp.minimum(token, m - 1)  # b g n t*l'
  end = jnp.where(stored.valid, stop, 0)  # b m
  end = jnp.take_along_axis(end[:, None], token.reshape(b, 1, -1), axis=-1)
  seen &= asked.row[:, None] < end.reshape(token.shape)

  def gather(x: Float[Array, "b m g k"]) -> Float[Array, "rows t g k"]:
    """Each query's own keys or values."""
    rows = jnp.take_along_axis(
      x.swapaxes(1, 2), token.reshape(b, g, -1)[..., None], axis=2
    )  # b g n*t k
    return jnp.moveaxis(rows.reshape(b, g, n, -1, k), 1, 3).reshape(b * n, -1, g, k)

  end = seen.swapaxes(1, 2).reshape(b * n, g, -1).astype(jnp.int32)
  key, value = (gather(x.astype(asked.query.dtype)) for x in stored.pairs)
  return interval_attention(
    asked.query.reshape(b * n, 1, h, k),
    key,
    value,
    Intervals(jnp.zeros_like(end), end),
    positions=jnp.zeros(1, jnp.int32),
    backend=backend,
  ).out.reshape(b, n, h, k)


def whole_runs(n: int) -> Runs:
  """One segment of any number of keys."""
  return Runs(jnp.zeros((1, n), jnp.int32), jnp.full((1, n), NEVER))
