"""Gradients of the tile on Hopper: one kernel for dq, one for dk, dv and dbias.

  p = exp2(s - lse),  dv = p^T do,  ds = p (do v^T - delta),
  dq = scale ds k,  dk = scale ds^T q,  dbias = the sum of ds over the rows

The first goes over the keys of each block of rows; the second over the rows of each
block of keys, with all products transposed. Nothing is added by atomics: the same
inputs give the same gradients, bit for bit. The bias' gradient is float32 throughout.

Source: *FlashAttention-2*, Dao, 2023, algorithm 2, after JAX's
`jax.experimental.pallas.ops.gpu.attention_mgpu`.
Differences: as of `gpu_mosaic`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.experimental.pallas as pl
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from mdm.kernels import gpu_mosaic_parts as parts
from mdm.kernels.gpu_blocks import LOG2_E, key_work, pad_saved, pad_tiles, row_work
from mdm.kernels.tiles import Saved, TileGradients, Tiles

BLOCK, SLOTS = parts.WARPGROUP_ROWS, 3  # of a warpgroup and of a step, of the ring
OF_ROWS = ("query", "position", "lse", "d_out", "delta")
OF_KEYS = ("key", "value", "bias", "start", "end")


class Shared(NamedTuple):
  """Shared memory of a program, and its barriers: own blocks, and a ring of others."""

  query: Any
  key: Any
  value: Any
  bias: Any
  start: Any
  end: Any
  position: Any
  lse: Any
  d_out: Any
  delta: Any
  own_here: Any
  ring_here: Any
  ring_free: Any


def backward(
  tiles: Tiles, scale: float, saved: Saved, *, interpret: Any = False
) -> TileGradients:
  """Gradients from the saved sums: p = exp(s - lse), ds = p (<d_out, v> - delta)."""
  r, m = tiles.query.shape[1], tiles.key.shape[1]
  several = BLOCK * parts.GROUPS
  padded = pad_tiles(tiles, several, several)
  kept = pad_saved(saved, several)
  kept = kept._replace(
    lse=kept.lse * LOG2_E, d_out=kept.d_out.astype(padded.value.dtype)
  )
  given = (*padded._replace(bias=padded.bias * LOG2_E), *kept)
  shared = functools.partial(_share, padded)
  (d_query,) = parts.launch(
    functools.partial(_query_body, scale=scale),
    key_work(padded, several, BLOCK),
    [padded.query],
    shared(rows=parts.GROUPS, keys=SLOTS),
    interpret=interpret,
  )(*given)
  d_key, d_value, d_bias = parts.launch(
    functools.partial(_key_body, scale=scale),
    row_work(padded, BLOCK, several),
    [padded.key, padded.value, padded.bias],
    shared(rows=SLOTS, keys=parts.GROUPS),
    interpret=interpret,
  )(*given)
  return TileGradients(d_query[:, :r], d_key[:, :m], d_value[:, :m], d_bias[:, :m])


def _share(tiles: Tiles, rows: int, keys: int) -> Shared:
  """Shared memory for so many blocks of rows and of keys."""
  d, dtype = tiles.query.shape[2], tiles.query.dtype
  return Shared(
    query=parts.matrix(rows, BLOCK, d, dtype),
    key=parts.matrix(keys, BLOCK, d, dtype),
    value=parts.matrix(keys, BLOCK, d, dtype),
    bias=plgpu.SMEM((keys, BLOCK), jnp.float32),
    start=plgpu.SMEM((keys, BLOCK), jnp.int32),
    end=plgpu.SMEM((keys, BLOCK), jnp.int32),
    position=plgpu.SMEM((rows, BLOCK), jnp.int32),
    lse=plgpu.SMEM((rows, BLOCK), jnp.float32),
    d_out=parts.matrix(rows, BLOCK, d, dtype),
    delta=plgpu.SMEM((rows, BLOCK), jnp.float32),
    own_here=parts.arrivals(parts.GROUPS, len(OF_ROWS)),
    ring_here=parts.arrivals(SLOTS, len(OF_KEYS)),
    ring_free=parts.releases(SLOTS),
  )


def _query_body(
  blocks: Any, ends: Any, *refs: Any, shared: Shared, scale: float
) -> None:
  """The gradient dq of two blocks of rows, over the keys they see."""
  sources = dict(zip(Tiles._fields + Saved._fields, refs[:10], strict=True))
  tile, block, group = (lax.axis_index(x) for x in ("tile", "block", "group"))
  full, live = ends[tile, block, 0], ends[tile, block, 1]

  @pl.when(group < parts.GROUPS)
  def compute() -> None:
    """Rows of its own."""
    plgpu.set_max_registers(232, action="increase")
    rows = pl.ds((block * parts.GROUPS + group) * BLOCK, BLOCK)
    here = shared.own_here.at[group]
    parts.copy_in(OF_ROWS, sources, (tile, rows), shared, group, here)
    plgpu.barrier_wait(here)
    total = parts.fill_matrix((BLOCK, shared.query.shape[-1]))
    step = functools.partial(_query_step, shared=shared, scale=scale)
    total = parts.walk(full, live, step, total)
    shared.query[group] = (total * scale).astype(shared.query.dtype)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(shared.query.at[group], refs[10].at[tile, rows])
    plgpu.wait_smem_to_gmem(0)

  @pl.when(group == parts.GROUPS)
  def fetch() -> None:
    """The blocks of keys, in the order of the list."""

    def copy(step: jax.Array, slot: jax.Array) -> None:
      """A block of keys with what belongs to it."""
      keys = pl.ds(blocks[tile, block, step] * BLOCK, BLOCK)
      here = shared.ring_here.at[slot]
      parts.copy_in(OF_KEYS, sources, (tile, keys), shared, slot, here)

    parts.fetch_blocks(live, SLOTS, shared.ring_free, copy)


def _query_step(
  step: jax.Array, total: jax.Array, *, shared: Shared, scale: float, is_partial: bool
) -> jax.Array:
  """Adds ds k of one block of keys; rows x keys."""
  group, slot = lax.axis_index("group"), lax.rem(step, jnp.int32(SLOTS))
  shape = (BLOCK, BLOCK)
  plgpu.barrier_wait(shared.ring_here.at[slot])
  score = parts.multiply(shared.query.at[group], shared.key.at[slot])
  score = score * (scale * LOG2_E) + parts.load_row(shared.bias.at[slot], shape)
  if is_partial:
    at = parts.spread(parts.load_column(shared.position.at[group]), shape)
    start = parts.load_row(shared.start.at[slot], shape)
    score = parts.hide(score, at, start, parts.load_row(shared.end.at[slot], shape))
  lse = parts.load_column(shared.lse.at[group])
  share = jnp.exp2(score - parts.spread(lse, shape))
  d_share = parts.multiply(shared.d_out.at[group], shared.value.at[slot])
  delta = parts.load_column(shared.delta.at[group])
  d_score = share * (d_share - parts.spread(delta, shape))
  d_score = d_score.astype(shared.key.dtype)
  total = parts.accumulate(total, d_score, shared.key.at[slot])
  parts.release(shared.ring_free.at[slot])
  return total


def _key_body(blocks: Any, ends: Any, *refs: Any, shared: Shared, scale: float) -> None:
  """The gradients dk, dv and dbias of two blocks of keys, over rows that see them."""
  sources = dict(zip(Tiles._fields + Saved._fields, refs[:10], strict=True))
  tile, block, group = (lax.axis_index(x) for x in ("tile", "block", "group"))
  full, live = ends[tile, block, 0], ends[tile, block, 1]

  @pl.when(group < parts.GROUPS)
  def compute() -> None:
    """Keys of its own."""
    plgpu.set_max_registers(232, action="increase")
    keys = pl.ds((block * parts.GROUPS + group) * BLOCK, BLOCK)
    here = shared.own_here.at[group]
    parts.copy_in(OF_KEYS, sources, (tile, keys), shared, group, here)
    plgpu.barrier_wait(here)
    zeros = parts.fill_matrix((BLOCK, shared.key.shape[-1]))
    carry = (zeros, zeros, parts.fill_column(BLOCK, 0.0))
    step = functools.partial(_key_step, shared=shared, scale=scale)
    d_key, d_value, d_bias = parts.walk(full, live, step, carry)
    shared.key[group] = (d_key * scale).astype(shared.key.dtype)
    shared.value[group] = d_value.astype(shared.value.dtype)
    shared.bias[group] = d_bias
    plgpu.commit_smem()
    for made, ref in zip(("key", "value", "bias"), refs[10:], strict=True):
      plgpu.copy_smem_to_gmem(getattr(shared, made).at[group], ref.at[tile, keys])
    plgpu.wait_smem_to_gmem(0)

  @pl.when(group == parts.GROUPS)
  def fetch() -> None:
    """The blocks of rows, in the order of the list."""

    def copy(step: jax.Array, slot: jax.Array) -> None:
      """A block of rows with what belongs to it."""
      rows = pl.ds(blocks[tile, block, step] * BLOCK, BLOCK)
      here = shared.ring_here.at[slot]
      parts.copy_in(OF_ROWS, sources, (tile, rows), shared, slot, here)

    parts.fetch_blocks(live, SLOTS, shared.ring_free, copy)


def _key_step(
  step: jax.Array, carry: tuple, *, shared: Shared, scale: float, is_partial: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Adds ds^T q, p^T do and the sums of ds over one block of rows; keys x rows."""
  d_key, d_value, d_bias = carry
  group, slot = lax.axis_index("group"), lax.rem(step, jnp.int32(SLOTS))
  shape, dtype = (BLOCK, BLOCK), shared.key.dtype
  plgpu.barrier_wait(shared.ring_here.at[slot])
  score = parts.multiply(shared.key.at[group], shared.query.at[slot])
  bias = parts.load_column(shared.bias.at[group])
  score = score * (scale * LOG2_E) + parts.spread(bias, shape)
  if is_partial:
    at = parts.load_row(shared.position.at[slot], shape)
    start = parts.load_column(shared.start.at[group])
    end = parts.load_column(shared.end.at[group])
    score = parts.hide(score, at, parts.spread(start, shape), parts.spread(end, shape))
  share = jnp.exp2(score - parts.load_row(shared.lse.at[slot], shape))
  d_value = parts.accumulate(d_value, share.astype(dtype), shared.d_out.at[slot])
  d_share = parts.multiply(shared.value.at[group], shared.d_out.at[slot])
  d_score = share * (d_share - parts.load_row(shared.delta.at[slot], shape))
  d_bias = d_bias + d_score.sum(axis=1)
  d_key = parts.accumulate(d_key, d_score.astype(dtype), shared.query.at[slot])
  parts.release(shared.ring_free.at[slot])
  return d_key, d_value, d_bias
