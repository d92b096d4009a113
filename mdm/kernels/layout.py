"""Tiles from whole arrays, one per head or one per chunk, and results back.

Source: ours, see `chunks.py`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mdm.kernels.chunks import assign_slots, gather_keys, ordered, sort_slots
from mdm.kernels.intervals import Intervals
from mdm.kernels.tiles import Tiles


def whole_tiles(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  bias: Float[Array, "#b #g m"],
  intervals: Intervals,
  positions: Int[Array, "n"] | None,
) -> Tiles:
  """One tile for each head of keys."""
  b, n, h, _ = query.shape
  m, g = key.shape[1:3]
  positions = jnp.arange(m - n, m) if positions is None else positions
  key, value = (x.swapaxes(1, 2).reshape(b * g, m, -1) for x in (key, value))
  bias, start, end = (
    jnp.broadcast_to(x, (b, g, m)).reshape(b * g, m) for x in (bias, *intervals)
  )
  positions = jnp.repeat(positions.astype(jnp.int32), h // g)
  positions = jnp.broadcast_to(positions, (b * g, n * h // g))
  return Tiles(_fold(query, g, n), key, value, bias, start, end, positions)


def chunk_tiles(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  bias: Float[Array, "#b #g m"],
  intervals: Intervals,
  *,
  width: int,
  chunk: int,
  is_sorted: bool,
  is_deterministic: bool,
) -> Tiles:
  """A tile for each chunk of queries and head of keys: keys carried, then its own."""
  b, n, h, _ = query.shape
  m, g = key.shape[1:3]
  before, after = -(m - n) % chunk, -n % chunk  # positions count from -before
  skip = (m - n + before) // chunk  # chunks of keys alone
  own = chunk * skip + jnp.arange(n + after, dtype=jnp.int32)  # positions of rows

  def pad(x: Shaped[Array, "#b #g m *d"]) -> Shaped[Array, "b g k *d"]:
    """Whole chunks, for each head."""
    x = jnp.pad(x, ((0, 0), (0, 0), (before, after), *[(0, 0)] * (x.ndim - 3)))
    return jnp.broadcast_to(x, (b, g, *x.shape[2:]))

  def lay(x: Shaped[Array, "b g m *d"]) -> Shaped[Array, "t k *d"]:
    """Keys side by side."""
    x = gather_keys(x, slots, is_deterministic)[:, :, skip:]
    return x.reshape(-1, *x.shape[3:])

  start, end = intervals
  end = jnp.where(start < end, end + before, 0)
  start, end = pad(start + before), pad(end)
  slots = assign_slots(end, width, chunk)
  if is_sorted:
    slots = sort_slots(slots, end)
  is_empty = jnp.pad(ordered(slots) < 0, ((0, 0),) * 3 + ((0, chunk),))
  rows = jnp.pad(query, ((0, 0), (0, after), (0, 0), (0, 0)))
  key, value, bias = (
    lay(pad(x)) for x in (key.swapaxes(1, 2), value.swapaxes(1, 2), bias)
  )
  end = jnp.where(is_empty[:, :, skip:].reshape(-1, width + chunk), 0, lay(end))
  own = jnp.tile(jnp.repeat(own, h // g).reshape(-1, chunk * h // g), (b * g, 1))
  return Tiles(_fold(rows, g, chunk), key, value, bias, lay(start), end, own)


def _fold(query: Float[Array, "b n h d"], g: int, chunk: int) -> Float[Array, "t r d"]:
  """Rows of tiles: chunks of each key head, the group's heads side by side."""
  b, n, h, d = query.shape
  rows = query.reshape(b, n // chunk, chunk, g, h // g, d)
  return rows.transpose(0, 3, 1, 2, 4, 5).reshape(b * g * n // chunk, -1, d)


def unfold(
  x: Shaped[Array, "t r *e"], batch: int, num_queries: int, heads: tuple[int, int]
) -> Shaped[Array, "b n h *e"]:
  """Results of rows where their queries were; drops what pads the last chunk.

  Args:
    heads: of queries, and of keys.
  """
  h, g = heads
  tail = x.shape[2:]
  x = x.reshape(batch, g, -1, x.shape[1] // (h // g), h // g, *tail)  # b g c r h/g e
  x = jnp.moveaxis(x, 1, 3)
  return x.reshape(batch, -1, h, *tail)[:, :num_queries]
