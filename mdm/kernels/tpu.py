"""Tiles on a TPU: one pass over the live keys of each block of rows.

Per block of rows, over its live blocks of keys:

  m' = max(m, max_j s_j),  l' = l e^(m - m') + sum_j e^(s_j - m'),
  o' = o e^(m - m') + sum_j e^(s_j - m') v_j;  at the end out = o / l, lse = m + log l

with m, l, o and s in float32; bfloat16 goes into the matrix unit as it comes, float32
in full precision. The mask is compared from the positions of the rows and the intervals
of the keys where it is needed, and is never stored.

Source: *FlashAttention-2*, Dao, 2023, algorithm 1; `tpu_blocks.py` for what is skipped.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from mdm.kernels import split
from mdm.kernels import tpu_blocks as blocks
from mdm.kernels.tiles import Saved, TileGradients, Tiles
from mdm.kernels.tpu_backward import differentiate_keys, differentiate_rows

_LEAST = float(jnp.finfo(jnp.float32).min)


def forward(
  tiles: Tiles,
  scale: float,
  *,
  block: tuple[int, int] = blocks.BLOCK,
  interpret: Any = False,
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32.

  Args:
    block: rows and keys computed at once, at most; they change no result.
    interpret: as of `pallas_call`, to run it where there is no TPU.

  Raises:
    ValueError: more blocks than scalar memory holds tables for.
  """
  cut = blocks.cut_tiles(tiles, block)
  run = functools.partial(_attend, scale=scale, cut=cut, interpret=interpret)
  return split.over_mesh(lambda part: split.in_parts(run, part, cut.most_tiles), tiles)


def backward(
  tiles: Tiles,
  scale: float,
  saved: Saved,
  *,
  block: tuple[int, int] = blocks.BLOCK,
  interpret: Any = False,
) -> TileGradients:
  """Gradients of query, key, value and bias; arguments as of `forward`."""
  cut = blocks.cut_tiles(tiles, block)
  saved = saved._replace(d_out=saved.d_out.astype(tiles.value.dtype))

  def run(part: tuple[Tiles, Saved]) -> TileGradients:
    """Both passes over some tiles."""
    padded, more = blocks.pad_tiles(part[0], cut), blocks.pad_saved(part[1], cut)
    live = blocks.find_live(padded, cut)
    options = dict(scale=scale, cut=cut, interpret=interpret)
    d_query = differentiate_rows(padded, more, blocks.list_live(live), **options)
    order = blocks.list_live(live.swapaxes(1, 2))
    d_key, d_value, d_bias = differentiate_keys(padded, more, order, **options)
    r, m = tiles.query.shape[1], tiles.key.shape[1]
    return TileGradients(d_query[:, :r], d_key[:, :m], d_value[:, :m], d_bias[:, 0, :m])

  return split.over_mesh(
    lambda part: split.in_parts(run, part, cut.most_tiles), (tiles, saved)
  )


def _attend(
  tiles: Tiles, *, scale: float, cut: blocks.Cut, interpret: Any
) -> tuple[jax.Array, jax.Array]:
  """The forward pass over some tiles."""
  r = tiles.query.shape[1]
  tiles = blocks.pad_tiles(tiles, cut)
  t, num_rows, d = tiles.query.shape
  num_keys, e = tiles.value.shape[1:]
  order = blocks.list_live(blocks.find_live(tiles, cut))
  row, key = blocks.outer_index, blocks.inner_index(order)
  row_numbers = blocks.numbers(cut.rows, row)
  row_values = blocks.vectors(cut.rows, e, row)
  out, lse = blocks.call(
    functools.partial(_kernel, scale=scale),
    order,
    inputs=blocks.place_inputs(tiles, row, key, cut),
    outputs=[
      (row_values, jax.ShapeDtypeStruct((t, num_rows, e), tiles.value.dtype)),
      (row_numbers, jax.ShapeDtypeStruct((t, 1, num_rows), jnp.float32)),
    ],
    scratch=[
      blocks.column(cut.rows, jnp.int32),
      *(blocks.column(cut.rows),) * 2,
      pltpu.VMEM((cut.rows, e), jnp.float32),
    ],
    flops=2 * t * num_rows * num_keys * (d + e),
    name="interval_attention_forward",
    interpret=interpret,
  )
  return out[:, :r], lse[:, 0, :r]


def _kernel(is_live: jax.Array, *refs: Any, scale: float) -> None:
  """One block of rows and one of keys; the results are written after the last."""
  query, key, value, bias, start, end, position = refs[:7]
  out, lse, place, highest, total, mixed = refs[7:]
  keys, e = value.shape
  step = pl.program_id(2)

  @pl.when(step == 0)
  def begin() -> None:
    """Nothing seen yet."""
    place[...] = blocks.stand(position[...])
    highest[...] = jnp.full_like(highest, _LEAST)
    total[...] = jnp.zeros_like(total)
    mixed[...] = jnp.zeros_like(mixed)

  @pl.when(is_live)
  def attend() -> None:
    """Takes in the keys of this block."""
    score = scale * blocks.multiply(query[...], key[...], (1, 1)) + bias[...]
    at = blocks.spread(place[...], keys)
    visible = (start[...] <= at) & (at < end[...])
    score = jnp.where(visible, score, -jnp.inf)  # rows keys
    before = highest[...]
    now = jnp.maximum(before, score.max(axis=1, keepdims=True))  # rows lanes
    part = jnp.exp(score - blocks.spread(now, keys))
    decay = jnp.exp(before - now)
    highest[...] = now
    total[...] = decay * total[...] + part.sum(axis=1, keepdims=True)
    mixed[...] = blocks.spread(decay, e) * mixed[...] + blocks.multiply(
      part.astype(value.dtype), value[...], (1, 0)
    )

  @pl.when(step == pl.num_programs(2) - 1)
  def finish() -> None:
    """Divides, unless the row saw nothing."""
    sees = total[...] > 0
    share = jnp.where(sees, total[...], 1.0)
    out[...] = (mixed[...] / blocks.spread(share, e)).astype(out.dtype)
    lse[...] = blocks.lay(jnp.where(sees, highest[...] + jnp.log(share), jnp.inf))
