"""Gradients of tiles on a TPU, from the saved sums, in two passes over the live pairs.

  p = e^(s - lse),  ds = p (<d_out, v> - delta)
  rows first:  dq = scale sum_j ds_j k_j
  keys first:  dk = scale sum_r ds_r q_r,  dv = sum_r p_r d_out_r,  dbias = sum_r ds_r

Each block of results is summed in float32 in a fixed order and written once. The second
pass has the scores transposed, so that what belongs to rows lies along the lanes.

Source: *FlashAttention-2*, Dao, 2023, algorithm 2; two passes as in the JAX authors'
splash attention.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from mdm.kernels import tpu_blocks as blocks
from mdm.kernels.tiles import Saved, Tiles


def differentiate_rows(
  tiles: Tiles,
  saved: Saved,
  order: blocks.Order,
  *,
  scale: float,
  cut: blocks.Cut,
  interpret: Any,
) -> jax.Array:
  """The gradient of the query, of padded tiles; live key blocks per row block."""
  t, num_rows, d = tiles.query.shape
  num_keys, e = tiles.value.shape[1:]
  row, key = blocks.outer_index, blocks.inner_index(order)
  inputs = blocks.place_inputs(tiles, row, key, cut)
  (d_query,) = blocks.call(
    functools.partial(_rows_kernel, scale=scale),
    order,
    inputs=[*inputs, *_place_saved(saved, row, cut)],
    outputs=[(inputs[0][0], jax.ShapeDtypeStruct((t, num_rows, d), tiles.query.dtype))],
    scratch=[
      blocks.column(cut.rows, jnp.int32),
      *(blocks.column(cut.rows),) * 2,
      pltpu.VMEM((cut.rows, d), jnp.float32),
    ],
    flops=2 * t * num_rows * num_keys * (2 * d + e),
    name="interval_attention_backward_rows",
    interpret=interpret,
  )
  return d_query


def differentiate_keys(
  tiles: Tiles,
  saved: Saved,
  order: blocks.Order,
  *,
  scale: float,
  cut: blocks.Cut,
  interpret: Any,
) -> tuple[jax.Array, ...]:
  """The gradients of key and value [t m .], and of bias [t 1 m]."""
  t, num_rows, d = tiles.query.shape
  num_keys, e = tiles.value.shape[1:]
  key, row = blocks.outer_index, blocks.inner_index(order)
  inputs = blocks.place_inputs(tiles, row, key, cut)
  key_shape, value_shape = (
    jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (tiles.key, tiles.value)
  )
  return blocks.call(
    functools.partial(_keys_kernel, scale=scale),
    order,
    inputs=[*inputs, *_place_saved(saved, row, cut)],
    outputs=[
      (inputs[1][0], key_shape),
      (inputs[2][0], value_shape),
      (inputs[3][0], jax.ShapeDtypeStruct((t, 1, num_keys), jnp.float32)),
    ],
    scratch=[
      blocks.column(cut.keys),
      *(blocks.column(cut.keys, jnp.int32),) * 2,
      pltpu.VMEM((cut.keys, d), jnp.float32),
      pltpu.VMEM((cut.keys, e), jnp.float32),
      blocks.column(cut.keys),
    ],
    flops=4 * t * num_rows * num_keys * (d + e),
    name="interval_attention_backward_keys",
    interpret=interpret,
  )


def _place_saved(saved: Saved, row: blocks.Index, cut: blocks.Cut) -> blocks.Placed:
  """What was saved of the rows, and where its blocks lie: lse, delta, d_out."""
  numbers = blocks.numbers(cut.rows, row)
  vectors = blocks.vectors(cut.rows, saved.d_out.shape[-1], row)
  lse, delta = saved.lse[:, None], saved.delta[:, None]
  return [(numbers, lse), (numbers, delta), (vectors, saved.d_out)]


def _rows_kernel(is_live: jax.Array, *refs: Any, scale: float) -> None:
  """One block of rows and one of keys."""
  query, key, value, bias, start, end, position, lse, delta, d_out = refs[:10]
  d_query, place, row_lse, row_delta, summed = refs[10:]
  keys = key.shape[0]
  step = pl.program_id(2)

  @pl.when(step == 0)
  def begin() -> None:
    """Stands the numbers of the rows up."""
    place[...] = blocks.stand(position[...])
    row_lse[...] = blocks.stand(lse[...])
    row_delta[...] = blocks.stand(delta[...])
    summed[...] = jnp.zeros_like(summed)

  @pl.when(is_live)
  def differentiate() -> None:
    """Takes in the keys of this block."""
    score = scale * blocks.multiply(query[...], key[...], (1, 1)) + bias[...]
    at = blocks.spread(place[...], keys)
    visible = (start[...] <= at) & (at < end[...])
    score = jnp.where(visible, score, -jnp.inf)  # rows keys
    share = jnp.exp(score - blocks.spread(row_lse[...], keys))
    d_share = blocks.multiply(d_out[...], value[...], (1, 1))
    d_score = share * (d_share - blocks.spread(row_delta[...], keys))
    summed[...] += blocks.multiply(d_score.astype(key.dtype), key[...], (1, 0))

  @pl.when(step == pl.num_programs(2) - 1)
  def finish() -> None:
    """Scales the sum."""
    d_query[...] = (scale * summed[...]).astype(d_query.dtype)


def _keys_kernel(is_live: jax.Array, *refs: Any, scale: float) -> None:
  """One block of keys and one of rows."""
  query, key, value, bias, start, end, position, lse, delta, d_out = refs[:10]
  d_key, d_value, d_bias, key_bias, key_start, key_end = refs[10:16]
  key_sum, value_sum, bias_sum = refs[16:]
  rows = query.shape[0]
  step = pl.program_id(2)

  @pl.when(step == 0)
  def begin() -> None:
    """Stands the numbers of the keys up."""
    key_bias[...] = blocks.stand(bias[...])
    key_start[...] = blocks.stand(start[...])
    key_end[...] = blocks.stand(end[...])
    for summed in (key_sum, value_sum, bias_sum):
      summed[...] = jnp.zeros_like(summed)

  @pl.when(is_live)
  def differentiate() -> None:
    """Takes in the rows of this block; keys down, rows along the lanes."""
    score = scale * blocks.multiply(key[...], query[...], (1, 1))
    score = score + blocks.spread(key_bias[...], rows)
    at = position[...]
    has_begun = blocks.spread(key_start[...], rows) <= at
    visible = has_begun & (at < blocks.spread(key_end[...], rows))
    score = jnp.where(visible, score, -jnp.inf)  # keys rows
    share = jnp.exp(score - lse[...])
    value_sum[...] += blocks.multiply(share.astype(d_out.dtype), d_out[...], (1, 0))
    d_share = blocks.multiply(value[...], d_out[...], (1, 1))
    d_score = share * (d_share - delta[...])
    key_sum[...] += blocks.multiply(d_score.astype(query.dtype), query[...], (1, 0))
    bias_sum[...] += d_score.sum(axis=1, keepdims=True)

  @pl.when(step == pl.num_programs(2) - 1)
  def finish() -> None:
    """Scales the sums."""
    d_key[...] = (scale * key_sum[...]).astype(d_key.dtype)
    d_value[...] = value_sum[...].astype(d_value.dtype)
    d_bias[...] = blocks.lay(bias_sum[...])
