"""The tile on any GPU, as kernels of Triton's kind; they also run interpreted on a CPU.

One program per block of rows (forward, dq) or of keys (dk, dv, dbias) walks the blocks
it meets; see `gpu_blocks`. Scores, sums and gradients are accumulated in float32, and
nothing is added up by atomics: the same inputs give the same gradients, bit for bit.

Source: *FlashAttention-2*, Dao, 2023, algorithms 1 and 2.
Differences: two backward kernels, so that dq needs no atomics; exp2, with log2(e) in
the scale and in the bias.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.experimental.pallas as pl
import jax.numpy as jnp
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from mdm.kernels.gpu_blocks import (
  LOG2_E,
  LOWEST,
  WorkList,
  key_work,
  pad_axis,
  pad_saved,
  pad_tiles,
  row_work,
)
from mdm.kernels.tiles import Saved, TileGradients, Tiles


def forward(
  tiles: Tiles, scale: float, *, interpret: bool = False
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32."""
  r, e = tiles.query.shape[1], tiles.value.shape[2]
  size = _choose_size(tiles)
  padded = _pad(tiles, size)
  (t, rows, d), (keys, width) = padded.query.shape, padded.value.shape[1:]
  of_keys = [_all(keys, d), _all(keys, width), *[_all(keys)] * 3]
  out, lse = _call(
    functools.partial(_forward_body, scale=scale * LOG2_E),
    key_work(padded, size, size),
    [_block(size, d), *of_keys, _block(size)],
    [
      (_block(size, width), jax.ShapeDtypeStruct((t, rows, width), tiles.value.dtype)),
      (_block(size), jax.ShapeDtypeStruct((t, rows), jnp.float32)),
    ],
    interpret=interpret,
  )(*padded._replace(bias=padded.bias * LOG2_E))
  return out[:, :r, :e], lse[:, :r]


def backward(
  tiles: Tiles, scale: float, saved: Saved, *, interpret: bool = False
) -> TileGradients:
  """Gradients from the saved sums: p = exp(s - lse), ds = p (<d_out, v> - delta)."""
  (r, d), (m, e) = tiles.query.shape[1:], tiles.value.shape[1:]
  size = _choose_size(tiles)
  padded = _pad(tiles, size)
  query, key, value, bias = padded[:4]
  (rows, wide), (keys, width) = query.shape[1:], value.shape[1:]
  kept = pad_saved(saved, size)
  d_out = pad_axis(kept.d_out.astype(value.dtype), 2, width)
  given = (*padded._replace(bias=bias * LOG2_E), kept.lse * LOG2_E, d_out, kept.delta)
  of_keys = [_all(keys, wide), _all(keys, width), *[_all(keys)] * 3]
  of_rows = [_block(size), _block(size), _block(size, width), _block(size)]
  (d_query,) = _call(
    functools.partial(_query_body, scale=scale),
    key_work(padded, size, size),
    [_block(size, wide), *of_keys, *of_rows],
    [(_block(size, wide), query)],
    interpret=interpret,
  )(*given)
  of_keys = [_block(size, wide), _block(size, width), *[_block(size)] * 3]
  of_rows = [_all(rows), _all(rows), _all(rows, width), _all(rows)]
  d_key, d_value, d_bias = _call(
    functools.partial(_key_body, scale=scale),
    row_work(padded, size, size),
    [_all(rows, wide), *of_keys, *of_rows],
    [(_block(size, wide), key), (_block(size, width), value), (_block(size), bias)],
    interpret=interpret,
  )(*given)
  return TileGradients(
    d_query[:, :r, :d], d_key[:, :m, :d], d_value[:, :m, :e], d_bias[:, :m]
  )


def _forward_body(blocks: Any, ends: Any, *refs: Any, scale: float) -> None:
  """One block of rows: the softmax is kept as highest score, sum and weighted sum."""
  _, key, value, bias, start, end, _ = refs[:7]
  q, at, (out, lse) = refs[0][...], refs[6][...], refs[7:]
  size = q.shape[0]  # of blocks of rows and of keys

  def attend(step: jax.Array, carry: tuple, *, is_partial: bool) -> tuple:
    """Adds one block of keys; scores are in powers of two."""
    highest, total, mixed = carry
    block = pl.ds(blocks[step] * size, size)
    score = scale * _dot(q, key[block, :].T) + bias[block][None, :]
    if is_partial:
      score = _hide(score, at[:, None], start[block][None, :], end[block][None, :])
    now = jnp.maximum(highest, score.max(axis=1))
    part = jnp.exp2(score - now[:, None])
    shrink = jnp.exp2(highest - now)
    v = value[block, :]
    mixed = mixed * shrink[:, None] + _dot(part.astype(v.dtype), v)
    return now, total * shrink + part.sum(axis=1), mixed

  zeros = jnp.zeros((q.shape[0],), jnp.float32)
  carry = (zeros + LOWEST, zeros, jnp.zeros(out.shape, jnp.float32))
  highest, total, mixed = _walk(ends, attend, carry)
  sees = total > 0
  total = jnp.where(sees, total, 1.0)
  out[...] = (mixed / total[:, None]).astype(out.dtype)
  lse[...] = jnp.where(sees, (highest + jnp.log2(total)) / LOG2_E, jnp.inf)


def _query_body(blocks: Any, ends: Any, *refs: Any, scale: float) -> None:
  """The gradient dq of one block of rows: scale * ds k over the keys it sees."""
  _, key, value, bias, start, end, _ = refs[:7]
  q, at, lse, do, delta = (x[...] for x in (refs[0], *refs[6:10]))
  d_query, size = refs[10], q.shape[0]

  def attend(step: jax.Array, carry: tuple, *, is_partial: bool) -> tuple:
    """Adds one block of keys."""
    block = pl.ds(blocks[step] * size, size)
    k = key[block, :]
    score = scale * LOG2_E * _dot(q, k.T) + bias[block][None, :]
    if is_partial:
      score = _hide(score, at[:, None], start[block][None, :], end[block][None, :])
    share = jnp.exp2(score - lse[:, None])
    d_score = share * (_dot(do, value[block, :].T) - delta[:, None])
    return (carry[0] + _dot(d_score.astype(k.dtype), k),)

  (total,) = _walk(ends, attend, (jnp.zeros(q.shape, jnp.float32),))
  d_query[...] = (scale * total).astype(d_query.dtype)


def _key_body(blocks: Any, ends: Any, *refs: Any, scale: float) -> None:
  """dk, dv and dbias of one block of keys, over the rows that see it; keys x rows."""
  query, position, lse, d_out, delta = refs[0], *refs[6:10]
  k, v, bias, start, end = (x[...] for x in refs[1:6])
  (d_key, d_value, d_bias), size = refs[10:], k.shape[0]

  def attend(step: jax.Array, carry: tuple, *, is_partial: bool) -> tuple:
    """Adds one block of rows."""
    dk, dv, db = carry
    block = pl.ds(blocks[step] * size, size)
    q, do = query[block, :], d_out[block, :]
    score = scale * LOG2_E * _dot(k, q.T) + bias[:, None]
    if is_partial:
      score = _hide(score, position[block][None, :], start[:, None], end[:, None])
    share = jnp.exp2(score - lse[block][None, :])
    d_score = share * (_dot(v, do.T) - delta[block][None, :])
    dv = dv + _dot(share.astype(do.dtype), do)
    dk = dk + _dot(d_score.astype(q.dtype), q)
    return dk, dv, db + d_score.sum(axis=1)

  shapes = (k.shape, v.shape, bias.shape)
  dk, dv, db = _walk(
    ends, attend, tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)
  )
  d_key[...] = (scale * dk).astype(d_key.dtype)
  d_value[...] = dv.astype(d_value.dtype)
  d_bias[...] = db


def _walk(ends: Any, attend: Callable[..., tuple], carry: tuple) -> tuple:
  """The full blocks, then the partial ones."""
  full = functools.partial(attend, is_partial=False)
  partial = functools.partial(attend, is_partial=True)
  carry = jax.lax.fori_loop(0, ends[0], full, carry)
  return jax.lax.fori_loop(ends[0], ends[1], partial, carry)


def _hide(
  score: jax.Array, at: jax.Array, start: jax.Array, end: jax.Array
) -> jax.Array:
  """-inf where a row's position lies outside a key's interval."""
  return jnp.where((start <= at) & (at < end), score, -jnp.inf)


def _dot(x: jax.Array, y: jax.Array) -> jax.Array:
  """The product x y, summed in float32; float32 operands are not rounded to tf32."""
  exact = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
  return jnp.dot(x, y, precision=exact, preferred_element_type=jnp.float32)


def _choose_size(tiles: Tiles) -> int:
  """Rows and keys of a block: fewer where they are wide, to fit registers."""
  is_small = tiles.query.dtype.itemsize <= 2
  width = max(tiles.query.shape[2], tiles.value.shape[2])
  return 64 if is_small and width <= 128 else 32


def _pad(tiles: Tiles, size: int) -> Tiles:
  """Rows and keys to whole blocks; widths to powers of two, as Triton's arrays are."""
  padded = pad_tiles(tiles, size, size)
  query, key, value = (
    pad_axis(x, 2, max(16, pl.next_power_of_2(x.shape[2]))) for x in padded[:3]
  )
  return padded._replace(query=query, key=key, value=value)


def _call(
  body: Callable[..., None],
  work: WorkList,
  given: list[pl.BlockSpec],
  made: list[tuple[pl.BlockSpec, Any]],
  *,
  interpret: bool,
) -> Callable[..., Any]:
  """The kernel over tiles and blocks: one program for each row of the work list."""
  lists = [pl.BlockSpec((None, None, x.shape[2]), lambda t, p: (t, p, 0)) for x in work]
  kernel = pl.pallas_call(
    body,
    grid=work.ends.shape[:2],
    in_specs=[*lists, *given],
    out_specs=[spec for spec, _ in made],
    out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for _, x in made],
    compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
    interpret=interpret,
  )
  return functools.partial(kernel, *work)


def _block(size: int, *width: int) -> pl.BlockSpec:
  """A program's own block of rows or keys."""
  return pl.BlockSpec((None, size, *width), lambda t, p: (t, p, *(0 for _ in width)))


def _all(size: int, *width: int) -> pl.BlockSpec:
  """All rows or keys of a program's tile."""
  return pl.BlockSpec((None, size, *width), lambda t, p: (t, 0, *(0 for _ in width)))
