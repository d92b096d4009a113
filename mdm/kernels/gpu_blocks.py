"""Which blocks of rows and keys of a tile meet: the work list of the GPU kernels.

A block of keys is dead for a block of rows where no row is in any key's interval, and
full where every row is in all of them. Each program of a kernel reads its list from an
int32 array: the full blocks first (no mask needed), then the others; dead ones are
never loaded. Blocks are told from the least and greatest start, end and position in
each, so a block that is called live may yet hold nothing; none that is dead is missed.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from mdm.kernels.tiles import Saved, Tiles

LOG2_E = math.log2(math.e)
# The highest score seen so far, before any: finite, so that 2^(-inf - LOWEST) is 0.
LOWEST = -1e30


class WorkList(NamedTuple):
  """For each of p blocks, which of the q blocks of the other axis it meets, and how."""

  blocks: Int[Array, "t p q"]
  ends: Int[Array, "t p 2"]  # of the full ones, and of the partial ones after them


def pad_axis(
  x: Shaped[Array, "*dims"], axis: int, multiple: int, mode: str = "constant"
) -> Shaped[Array, "*padded"]:
  """`x` made longer at its end to the next multiple, with zeros or its last entry."""
  width = [(0, 0)] * x.ndim
  width[axis] = (0, -x.shape[axis] % multiple)
  return jnp.pad(x, width, mode=mode)


def pad_tiles(tiles: Tiles, rows: int, keys: int) -> Tiles:
  """Rows and keys padded to multiples: added keys are dead, added rows see as the last.

  What the added rows get is cut off, and they give no gradient: see `pad_saved`.
  """
  return Tiles(
    query=pad_axis(tiles.query, 1, rows),
    key=pad_axis(tiles.key, 1, keys),
    value=pad_axis(tiles.value, 1, keys),
    bias=pad_axis(tiles.bias.astype(jnp.float32), 1, keys),
    start=pad_axis(tiles.start.astype(jnp.int32), 1, keys),
    end=pad_axis(tiles.end.astype(jnp.int32), 1, keys),
    position=pad_axis(tiles.position.astype(jnp.int32), 1, rows, mode="edge"),
  )


def pad_saved(saved: Saved, rows: int) -> Saved:
  """The same for what the backward pass gets: added rows have d_out 0 and lse +inf."""
  r = saved.lse.shape[1]
  lse = pad_axis(saved.lse.astype(jnp.float32), 1, rows)
  return Saved(
    jnp.where(jnp.arange(lse.shape[1]) < r, lse, jnp.inf),
    pad_axis(saved.d_out, 1, rows),
    pad_axis(saved.delta.astype(jnp.float32), 1, rows),
  )


def key_work(tiles: Tiles, rows: int, keys: int) -> WorkList:
  """The blocks of `keys` keys that each block of `rows` rows of padded tiles meets."""
  return _list_work(_rank_pairs(tiles, rows, keys))


def row_work(tiles: Tiles, rows: int, keys: int) -> WorkList:
  """The blocks of `rows` rows that each block of `keys` keys of padded tiles meets."""
  return _list_work(_rank_pairs(tiles, rows, keys).swapaxes(1, 2))


def _rank_pairs(tiles: Tiles, rows: int, keys: int) -> Int[Array, "t p q"]:
  """0 where all rows of a block see all keys of the other, 2 where none can, else 1."""
  t = tiles.query.shape[0]
  position = tiles.position.reshape(t, -1, 1, rows)
  first, last = position.min(-1), position.max(-1)  # t p 1
  start, end = (x.reshape(t, 1, -1, keys) for x in (tiles.start, tiles.end))
  lives = start < end
  top = jnp.iinfo(jnp.int32).max
  opens = jnp.where(lives, start, top).min(-1)  # t 1 q
  closes = jnp.where(lives, end, -top).max(-1)
  is_live = (opens <= last) & (first < closes)
  is_full = (start.max(-1) <= first) & (last < end.min(-1))
  return jnp.where(is_full, 0, jnp.where(is_live, 1, 2)).astype(jnp.int32)


def _list_work(rank: Int[Array, "t p q"]) -> WorkList:
  """The pairs by rank, each rank in its order, and how many there are below 1 and 2."""
  ends = jnp.stack([(rank < 1).sum(-1), (rank < 2).sum(-1)], axis=-1)
  blocks = jnp.argsort(rank, axis=-1, stable=True)
  return WorkList(*(jax.lax.stop_gradient(x.astype(jnp.int32)) for x in (blocks, ends)))
