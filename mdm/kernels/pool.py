"""Attention of chunks that gathers keys a few chunks at a time, in plain JAX.

The gathered keys of all chunks would be (width + chunk) / chunk times as many as there
are: with the small chunks that suit a CPU they would cost more time to write and to
read than they save. So each step of a loop gathers for a few chunks, and going back
adds their gradients where the keys came from.

Source: ours, see `chunks.py`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int, Shaped

from mdm.kernels import split, xla
from mdm.kernels.tiles import Pool, Saved, Tiles


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def attend_pool(
  pool: Pool, scale: float, is_deterministic: bool
) -> tuple[Float[Array, "p t r e"], Float[Array, "p t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32.

  Args:
    is_deterministic: gradients are added one tile at a time, whose keys all differ, so
      that their order is fixed on any device.
  """
  return split.over_mesh(functools.partial(_forward, scale=scale), pool)


def _attend_forward(
  pool: Pool, scale: float, is_deterministic: bool
) -> tuple[tuple[jax.Array, jax.Array], tuple[Pool, jax.Array, jax.Array]]:
  out, lse = attend_pool(pool, scale, is_deterministic)
  out, lse = checkpoint_name(out, "attention"), checkpoint_name(lse, "attention")
  return (out, lse), (pool, out, lse)


def _attend_backward(
  scale: float,
  is_deterministic: bool,
  kept: tuple[Pool, jax.Array, jax.Array],
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[Pool]:
  pool, out, lse = kept
  d_out, d_lse = cotangents
  delta = (out.astype(jnp.float32) * d_out.astype(jnp.float32)).sum(-1) - d_lse
  run = functools.partial(_backward, scale=scale, is_deterministic=is_deterministic)
  query, key, value, bias = split.over_mesh(run, (pool, Saved(lse, d_out, delta)))
  none: Any = None  # JAX's word for the gradient of whole numbers
  return (Pool(query, key, value, bias, none, none, none, none),)


attend_pool.defvjp(_attend_forward, _attend_backward)


def _forward(pool: Pool, scale: float) -> tuple[jax.Array, jax.Array]:
  """Of all tiles that one device has."""
  p, t = pool.number.shape[:2]
  flat = _flatten(pool)
  out, lse = jax.lax.map(
    lambda block: xla.forward_block(_gather(flat, *block), scale),
    _cut(flat, _group(flat)),
  )
  out, lse = (x.reshape(-1, *x.shape[2:])[: p * t] for x in (out, lse))
  return out.reshape(p, t, *out.shape[1:]), lse.reshape(p, t, -1)


def _backward(
  arrays: tuple[Pool, Saved], scale: float, is_deterministic: bool
) -> tuple[jax.Array, ...]:
  """Gradients of query, key, value and bias of all tiles that one device has."""
  pool, saved = arrays
  flat = _flatten(pool)
  more = (x.reshape(-1, *x.shape[2:]) for x in saved)

  def step(total: tuple, block: tuple) -> tuple[tuple, jax.Array]:
    """Some tiles: adds the gradients of their keys to those of all."""
    number, query, position, *saved = block
    tiles = _gather(flat, number, query, position)
    grads = xla.backward_block(tiles, scale, Saved(*saved))
    return tuple(
      x.at[number].add(y, mode="drop") for x, y in zip(total, grads[1:], strict=True)
    ), grads.query.astype(query.dtype)

  total, query = jax.lax.scan(
    step,
    tuple(jnp.zeros(x.shape, jnp.float32) for x in (flat.key, flat.value, flat.bias)),
    _cut(flat, 1 if is_deterministic else _group(flat), *more),
  )
  query = query.reshape(-1, *query.shape[2:])[: flat.query.shape[0]]
  return tuple(
    x.reshape(y.shape).astype(y.dtype)
    for x, y in zip((query, *total), pool[:4], strict=True)
  )


def _flatten(pool: Pool) -> Pool:
  """Without the first axis: the keys of all heads are rows of the same arrays."""
  p, m = pool.bias.shape
  first = m * jnp.arange(p, dtype=jnp.int32)[:, None, None]
  number = jnp.where(pool.number < m, pool.number + first, p * m)
  return Pool(*(x.reshape(-1, *x.shape[2:]) for x in pool._replace(number=number)))


def _group(flat: Pool) -> int:
  """How many tiles go at once."""
  t, keys = flat.number.shape
  return xla.even_parts(t, xla.most_scores() // (keys * flat.position.shape[1]))


def _cut(flat: Pool, group: int, *more: jax.Array) -> tuple[jax.Array, ...]:
  """Groups of tiles: numbers, rows, and what else is given; padding has no keys."""
  more_tiles = -flat.number.shape[0] % group

  def cut(x: Shaped[Array, "t *k"], fill: int) -> Shaped[Array, "a p *k"]:
    """Pads and cuts."""
    x = jnp.pad(x, ((0, more_tiles), *[(0, 0)] * (x.ndim - 1)), constant_values=fill)
    return x.reshape(-1, group, *x.shape[1:])

  rows = (flat.query, flat.position, *more)
  return cut(flat.number, flat.key.shape[0]), *(cut(x, 0) for x in rows)


def _gather(
  flat: Pool,
  number: Int[Array, "t k"],
  query: Float[Array, "t r d"],
  position: Int[Array, "t r"],
) -> Tiles:
  """Tiles with their keys side by side; where there is none, one that is dead."""
  key, value, bias, start, end = (
    x.at[number].get(mode="fill", fill_value=0)
    for x in (flat.key, flat.value, flat.bias, flat.start, flat.end)
  )
  return Tiles(query, key, value, bias, start, end, position)
