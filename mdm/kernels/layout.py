"""Tiles from whole arrays, one per head or one per chunk, and results back.

Source: ours, see `chunks.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mdm.kernels.chunks import (
  Slots,
  assign_slots,
  assign_sorted,
  gather_keys,
  number_keys,
  sort_slots,
)
from mdm.kernels.intervals import Intervals
from mdm.kernels.tiles import Pool, Tiles


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


class Chunks(NamedTuple):
  """Arrays padded to whole chunks, and who is carried into each chunk.

  `skip` first chunks have keys only.
  """

  query: Float[Array, "t r d"]
  key: Float[Array, "b g m d"]
  value: Float[Array, "b g m e"]
  bias: Float[Array, "b g m"]
  start: Int[Array, "b g m"]
  end: Int[Array, "b g m"]
  position: Int[Array, "t r"]
  slots: Slots
  skip: int


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
  """A tile for each chunk of queries and head of keys: keys carried, then its own.

  Args:
    is_sorted: puts carried keys that leave last first.
    is_deterministic: gradients of keys are summed in a fixed order.
  """
  at_once = is_sorted and not is_deterministic
  assign = assign_sorted if at_once else assign_slots
  cut = _cut(query, key, value, bias, intervals, assign, width, chunk)
  slots = cut.slots
  if is_sorted and not at_once:
    slots = sort_slots(slots, cut.end)

  def lay(x: Shaped[Array, "b g m *d"]) -> Shaped[Array, "t k *d"]:
    """Keys side by side."""
    x = gather_keys(x, slots, is_deterministic)[:, :, cut.skip :]
    return x.reshape(-1, *x.shape[3:])

  is_empty = number_keys(slots, chunk)[:, :, cut.skip :] < 0
  end = jnp.where(is_empty.reshape(-1, is_empty.shape[-1]), 0, lay(cut.end))
  key, value, bias, start = map(lay, (cut.key, cut.value, cut.bias, cut.start))
  return Tiles(cut.query, key, value, bias, start, end, cut.position)


def chunk_pool(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  bias: Float[Array, "#b #g m"],
  intervals: Intervals,
  *,
  width: int,
  chunk: int,
) -> Pool:
  """The same tiles, with keys by number: nothing is gathered yet."""
  cut = _cut(query, key, value, bias, intervals, assign_slots, width, chunk)
  p, m = cut.key.shape[0] * cut.key.shape[1], cut.key.shape[2]
  number = number_keys(cut.slots, chunk)[:, :, cut.skip :]  # b g c k
  number = jnp.where(number < 0, m, number)
  query, position = (x.reshape(p, -1, *x.shape[1:]) for x in (cut.query, cut.position))
  key, value, bias, start, end, number = (
    x.reshape(p, *x.shape[2:])
    for x in (cut.key, cut.value, cut.bias, cut.start, cut.end, number)
  )
  return Pool(query, key, value, bias, start, end, position, number)


def _cut(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  bias: Float[Array, "#b #g m"],
  intervals: Intervals,
  assign: Callable[[Int[Array, "b g m"], int, int], Slots],
  width: int,
  chunk: int,
) -> Chunks:
  """Pads at both ends, so that queries and their own keys share their chunks."""
  b, n, h, _ = query.shape
  m, g = key.shape[1:3]
  before, after = -(m - n) % chunk, -n % chunk  # positions count from -before
  skip = (m - n + before) // chunk

  def pad(x: Shaped[Array, "#b #g m *d"]) -> Shaped[Array, "#b #g k *d"]:
    """Whole chunks."""
    return jnp.pad(x, ((0, 0), (0, 0), (before, after), *[(0, 0)] * (x.ndim - 3)))

  start, end = intervals
  end = pad(jnp.where(start < end, end + before, 0))
  slots = assign(end, min(width, m), chunk)
  key, value, bias, start, end, slots = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (b, g, *x.shape[2:])),
    (
      pad(key.swapaxes(1, 2)),
      pad(value.swapaxes(1, 2)),
      pad(bias),
      pad(start + before),
      end,
      slots,
    ),
  )
  rows = jnp.pad(query, ((0, 0), (0, after), (0, 0), (0, 0)))
  position = chunk * skip + jnp.arange(n + after, dtype=jnp.int32)
  position = jnp.repeat(position, h // g).reshape(-1, chunk * h // g)
  return Chunks(
    _fold(rows, g, chunk),
    *(key, value, bias, start, end),
    position=jnp.tile(position, (b * g, 1)),
    slots=slots,
    skip=skip,
  )


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
