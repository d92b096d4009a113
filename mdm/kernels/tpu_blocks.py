"""Tiles cut into blocks for a TPU, and the order in which their live pairs are visited.

A pair of a row block and a key block is live if one of its keys may be seen from one of
its rows: least start <= highest position and lowest position < greatest end. Per block
on one side, the live blocks on the other are listed in tables that a kernel has in
scalar memory before it starts, so that the others are neither fetched nor computed, and
the grid is no longer than the longest list.

Source: *SplashAttention* of the JAX authors (`jax.experimental.pallas.ops.tpu`), 2023,
for tables of blocks in scalar memory; there they come from a mask known beforehand.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Int

from mdm.kernels.tiles import Saved, Tiles

LANES = 128
BLOCK = (512, 512)  # rows and keys, at most; scores of a pair are 1 MiB
TABLE = 1 << 17  # entries of the tables of one call; scalar memory has 1 MiB

_NEVER = np.iinfo(np.int32)

Index = Callable[..., tuple[Any, ...]]
Placed = list[tuple[pl.BlockSpec, jax.Array]]


class Order(NamedTuple):
  """Per block, how many blocks on the other side are live, and which, in rising order.

  Places beyond the count repeat the last one, which is then resident: no fetch.
  """

  num_live: Int[Array, "t a"]
  block: Int[Array, "t a c"]


class Cut(NamedTuple):
  """Rows and keys of a block, and how many tiles one call has tables for."""

  rows: int
  keys: int
  most_tiles: int


def cut_tiles(tiles: Tiles, most: tuple[int, int]) -> Cut:
  """As few blocks as the largest allowed ones make, of equal sizes in whole lanes.

  Raises:
    ValueError: the tables of one tile do not fit.
  """
  lengths = (tiles.query.shape[1], tiles.key.shape[1])
  counts = [pl.cdiv(*pair) for pair in zip(lengths, most, strict=True)]
  rows, keys = (
    pl.cdiv(pl.cdiv(length, count), LANES) * LANES
    for length, count in zip(lengths, counts, strict=True)
  )
  entries = math.prod(counts) + max(counts)
  if entries > TABLE:
    raise ValueError(
      f"{lengths[0]} rows with {lengths[1]} keys have {math.prod(counts)} pairs of "
      f"blocks, more than a TPU's scalar memory holds ({TABLE}); give a width, or "
      "shard the sequence."
    )
  return Cut(rows, keys, TABLE // entries)


def pad_tiles(tiles: Tiles, cut: Cut) -> Tiles:
  """Tiles of whole blocks; nothing sees a new key."""
  rows, keys = -tiles.query.shape[1] % cut.rows, -tiles.key.shape[1] % cut.keys
  query, *of_keys, position = tiles
  of_keys = [_pad(x, keys) for x in of_keys]
  padded = [_pad(query, rows), *of_keys, _pad(position, rows, mode="edge")]
  return Tiles(*padded)


def pad_saved(saved: Saved, cut: Cut) -> Saved:
  """The same for what was saved: new rows have seen nothing, their lse is +inf."""
  rows = -saved.lse.shape[1] % cut.rows
  return Saved(
    _pad(saved.lse, rows, constant_values=jnp.inf),
    _pad(saved.d_out, rows),
    _pad(saved.delta, rows),
  )


def _pad(x: jax.Array, more: int, **options: Any) -> jax.Array:
  """Longer along the second axis."""
  return jnp.pad(x, ((0, 0), (0, more)) + ((0, 0),) * (x.ndim - 2), **options)


def find_live(tiles: Tiles, cut: Cut) -> Bool[Array, "t i j"]:
  """Whether a row of row block i may see a key of key block j; true where one does."""
  t = tiles.query.shape[0]
  position = tiles.position.reshape(t, -1, 1, cut.rows)  # t i 1 rows
  is_seen = tiles.start < tiles.end  # t m
  start = jnp.where(is_seen, tiles.start, _NEVER.max).reshape(t, 1, -1, cut.keys)
  end = jnp.where(is_seen, tiles.end, _NEVER.min).reshape(t, 1, -1, cut.keys)
  return (start.min(-1) <= position.max(-1)) & (position.min(-1) < end.max(-1))


def list_live(live: Bool[Array, "t a c"]) -> Order:
  """The tables of the blocks on the left, each with its live ones on the right."""
  num_live = live.sum(axis=-1, dtype=jnp.int32)  # t a
  first = jnp.argsort(~live, axis=-1, stable=True).astype(jnp.int32)  # t a c
  place = jnp.minimum(
    jnp.arange(live.shape[-1]), jnp.maximum(num_live[..., None] - 1, 0)
  )  # t a c
  return Order(num_live, jnp.take_along_axis(first, place, axis=-1))


def outer_index(t: Any, a: Any, *_: Any) -> tuple[Any, ...]:
  """A block of vectors of the side that has the tables, as [t, a, :]."""
  return t, a, 0


def inner_index(order: Order) -> Index:
  """Where the block of this step lies, on the side that is visited in order."""
  _, num_outer, num_inner = order.block.shape

  def index(t: Any, a: Any, step: Any, num_live: Any, block: Any) -> tuple[Any, ...]:
    """A block of vectors as [t, c, :]."""
    del num_live
    return t, block[(t * num_outer + a) * num_inner + step], 0

  return index


def vectors(length: int, width: int, index: Index) -> pl.BlockSpec:
  """Blocks of `length` vectors of an array [t, :, width]."""
  return pl.BlockSpec((None, length, width), index)


def numbers(length: int, index: Index) -> pl.BlockSpec:
  """Blocks of `length` numbers of an array [t, 1, :], cut where vectors would be."""

  def line_index(*args: Any) -> tuple[Any, ...]:
    """A block as [t, 0, a]."""
    t, place, zero = index(*args)
    return t, zero, place

  return pl.BlockSpec((None, 1, length), line_index)


def place_inputs(tiles: Tiles, row: Index, key: Index, cut: Cut) -> Placed:
  """The arrays of the tiles, numbers as [t, 1, :], and where their blocks lie."""
  row_numbers, key_numbers = numbers(cut.rows, row), numbers(cut.keys, key)
  specs = [
    vectors(cut.rows, tiles.query.shape[-1], row),
    vectors(cut.keys, tiles.key.shape[-1], key),
    vectors(cut.keys, tiles.value.shape[-1], key),
    *(key_numbers,) * 3,
    row_numbers,
  ]
  arrays = (*tiles[:3], *(x[:, None] for x in tiles[3:]))
  return list(zip(specs, arrays, strict=True))


def column(length: int, dtype: Any = jnp.float32) -> Any:
  """Scratch for one number per row or key, the same in every lane."""
  return pltpu.VMEM((length, LANES), dtype)


def call(
  kernel: Callable[..., None],
  order: Order,
  inputs: Sequence[tuple[pl.BlockSpec, jax.Array]],
  outputs: Sequence[tuple[pl.BlockSpec, jax.ShapeDtypeStruct]],
  scratch: Sequence[Any],
  *,
  flops: int,
  name: str,
  interpret: Any,
) -> tuple[jax.Array, ...]:
  """The kernel over the grid (tile, block, live block of the other side).

  Its first argument says whether this step has a pair to compute.

  Args:
    flops: if every pair is live; for the compiler's schedule and reports.
  """
  t, num_outer, _ = order.block.shape

  def run_step(num_live: Any, block: Any, *refs: Any) -> None:
    """The pair, after a look at the table."""
    del block
    outer = pl.program_id(0) * num_outer + pl.program_id(1)
    kernel(pl.program_id(2) < num_live[outer], *refs)

  in_specs, arrays = zip(*inputs, strict=True)
  out_specs, out_shape = zip(*outputs, strict=True)
  run = pl.pallas_call(
    run_step,
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(t, num_outer, jnp.maximum(order.num_live.max(), 1)),
      in_specs=in_specs,
      out_specs=out_specs,
      scratch_shapes=scratch,
    ),
    out_shape=list(out_shape),
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=("parallel", "parallel", "arbitrary")
    ),
    cost_estimate=pl.CostEstimate(
      flops=flops,
      transcendentals=arrays[0].shape[0] * arrays[0].shape[1] * arrays[1].shape[1],
      bytes_accessed=sum(x.size * x.dtype.itemsize for x in (*arrays, *out_shape)),
    ),
    interpret=interpret,
    name=name,
  )
  return tuple(run(order.num_live.ravel(), order.block.ravel(), *arrays))


def stand(line: jax.Array) -> jax.Array:
  """Numbers [1, n] as a column, the same in every lane: [n, 128]."""
  return jnp.broadcast_to(line, (LANES, line.shape[1])).T


def lay(column: jax.Array) -> jax.Array:
  """A column [n, 128] as [1, n]."""
  return column.T[:1]


def spread(column: jax.Array, width: int) -> jax.Array:
  """A column [n, 128] over `width` lanes."""
  if width <= LANES:
    return column[:, :width]
  return jnp.tile(column, (1, pl.cdiv(width, LANES)))[:, :width]


def multiply(x: jax.Array, y: jax.Array, axes: tuple[int, int]) -> jax.Array:
  """Sums products over one axis of each in float32; float32 itself is not cut down."""
  precision = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
  return jax.lax.dot_general(
    x,
    y,
    (((axes[0],), (axes[1],)), ((), ())),
    precision=precision,
    preferred_element_type=jnp.float32,
  )
