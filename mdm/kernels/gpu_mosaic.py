"""The tile on Hopper: asynchronous copies and matrix units, in Pallas Mosaic GPU.

One program per 128 rows: two warpgroups of 64 rows each compute, taking turns between
matrix products and softmax, while a third copies the next live blocks of keys into a
ring in shared memory. Scores and sums are float32, in powers of two.

Source: *FlashAttention-3*, Shah et al., 2024, section 3.1 (roles and turns), after
JAX's `jax.experimental.pallas.ops.gpu.attention_mgpu`.
Differences: a bias and an interval per key; only live blocks are copied, the full ones
first and without a mask; a row that sees nothing gives 0.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.experimental.pallas as pl
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from mdm.kernels import gpu_mosaic_parts as parts
from mdm.kernels.gpu_blocks import LOG2_E, LOWEST, key_work, pad_tiles
from mdm.kernels.gpu_mosaic_backward import backward
from mdm.kernels.tiles import Tiles

__all__ = ["backward", "forward"]

ROWS, KEYS = parts.WARPGROUP_ROWS, 128  # of a warpgroup, of a step
OF_ROWS = ("query", "position")
OF_KEYS = ("key", "bias", "start", "end")


class Shared(NamedTuple):
  """Shared memory of a program, and its barriers."""

  query: Any
  position: Any
  key: Any
  value: Any
  bias: Any
  start: Any
  end: Any
  lse: Any
  rows_here: Any
  keys_here: Any
  values_here: Any
  keys_free: Any
  values_free: Any
  turn: Any


def forward(
  tiles: Tiles, scale: float, *, interpret: Any = False
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32."""
  r, d = tiles.query.shape[1:]
  padded = pad_tiles(tiles, ROWS * parts.GROUPS, KEYS)
  t, rows, _ = padded.query.shape
  slots = 256 // d  # as many as fit
  dtype = tiles.query.dtype
  shared = Shared(
    query=parts.matrix(parts.GROUPS, ROWS, d, dtype),
    position=plgpu.SMEM((parts.GROUPS, ROWS), jnp.int32),
    key=parts.matrix(slots, KEYS, d, dtype),
    value=parts.matrix(slots, KEYS, d, dtype),
    bias=plgpu.SMEM((slots, KEYS), jnp.float32),
    start=plgpu.SMEM((slots, KEYS), jnp.int32),
    end=plgpu.SMEM((slots, KEYS), jnp.int32),
    lse=plgpu.SMEM((parts.GROUPS, ROWS), jnp.float32),
    rows_here=parts.arrivals(parts.GROUPS, len(OF_ROWS)),
    keys_here=parts.arrivals(slots, len(OF_KEYS)),
    values_here=parts.arrivals(slots),
    keys_free=parts.releases(slots),
    values_free=parts.releases(slots),
    turn=plgpu.Barrier(num_arrivals=parts.GROUPS),
  )
  out, lse = parts.launch(
    functools.partial(_body, scale=scale * LOG2_E),
    key_work(padded, ROWS * parts.GROUPS, KEYS),
    [padded.query, jax.ShapeDtypeStruct((t, rows), jnp.float32)],
    shared,
    interpret=interpret,
  )(*padded._replace(bias=padded.bias * LOG2_E))
  return out[:, :r], lse[:, :r]


def _body(blocks: Any, ends: Any, *refs: Any, shared: Shared, scale: float) -> None:
  """What each warpgroup of a program does."""
  sources, (out, lse) = dict(zip(Tiles._fields, refs[:7], strict=True)), refs[7:]
  tile, block, group = (lax.axis_index(x) for x in ("tile", "block", "group"))
  full, live = ends[tile, block, 0], ends[tile, block, 1]
  slots = shared.key.shape[0]

  @pl.when(group < parts.GROUPS)
  def attend() -> None:
    """Rows of its own."""
    plgpu.set_max_registers(232, action="increase")
    rows = pl.ds((block * parts.GROUPS + group) * ROWS, ROWS)
    here = shared.rows_here.at[group]
    parts.copy_in(OF_ROWS, sources, (tile, rows), shared, group, here)
    plgpu.barrier_wait(here)
    highest, total, mixed = _attend(shared, full, live, scale)
    sees = total > 0.0
    total = jnp.where(sees, total, 1.0)
    logarithm = highest * (1 / LOG2_E) + jnp.log(total)
    shared.lse[group] = jnp.where(sees, logarithm, jnp.inf)
    shared.query[group] = (mixed / parts.spread(total, mixed.shape)).astype(out.dtype)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(shared.query.at[group], out.at[tile, rows])
    plgpu.copy_smem_to_gmem(shared.lse.at[group], lse.at[tile, rows])
    plgpu.wait_smem_to_gmem(0)

  @pl.when(group == parts.GROUPS)
  def fetch() -> None:
    """The blocks of keys, in the order of the list."""

    def copy(step: jax.Array, slot: jax.Array) -> None:
      """A block of keys with what belongs to it."""
      keys = pl.ds(blocks[tile, block, step] * KEYS, KEYS)
      here = shared.keys_here.at[slot]
      parts.copy_in(OF_KEYS, sources, (tile, keys), shared, slot, here)
      # Values are done with after their keys.
      wait = functools.partial(plgpu.barrier_wait, shared.values_free.at[slot])
      pl.when(step >= slots)(wait)
      here = shared.values_here.at[slot]
      parts.copy_in(("value",), sources, (tile, keys), shared, slot, here)

    parts.fetch_blocks(live, slots, shared.keys_free, copy)


def _attend(
  shared: Shared, full: jax.Array, live: jax.Array, scale: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """A warpgroup's highest scores, sums and weighted sums, over the blocks as they come.

  The two warpgroups go through the matrix unit in turn: both pass the barrier twice a
  step, and the second one once more before and the first one once more after.
  """
  group = lax.axis_index("group")
  shape = (ROWS, shared.query.shape[-1])

  @pl.when(live > 0)
  def wait() -> None:
    """For the first keys."""
    plgpu.barrier_wait(shared.keys_here.at[0])

  pl.when(group == 1)(lambda: _pass(shared.turn))
  step = functools.partial(_step, shared=shared, live=live, scale=scale)
  carry = (
    parts.fill_column(ROWS, LOWEST),
    parts.fill_column(ROWS, 0.0),
    parts.fill_matrix(shape),
  )
  carry = parts.walk(full, live, step, carry)
  pl.when(group == 0)(lambda: _pass(shared.turn))
  return carry


def _step(
  step: jax.Array,
  carry: tuple[jax.Array, jax.Array, jax.Array],
  *,
  shared: Shared,
  live: jax.Array,
  scale: float,
  is_partial: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Adds one block of keys; its keys have arrived, and the next ones are awaited."""
  highest, total, mixed = carry
  slots = jnp.int32(shared.key.shape[0])
  group, slot = lax.axis_index("group"), lax.rem(step, slots)
  shape = (ROWS, KEYS)

  def multiply(score: Any) -> jax.Array:
    """Products with the keys; then the other warpgroup's turn."""
    keys = shared.key.at[slot].transpose((1, 0))
    plgpu.wgmma(score, shared.query.at[group], keys)
    _pass(shared.turn)
    return score[...]

  score = pl.run_scoped(multiply, plgpu.ACC(shape, jnp.float32))
  score = score * scale + parts.load_row(shared.bias.at[slot], shape)
  if is_partial:
    at = parts.spread(parts.load_column(shared.position.at[group]), shape)
    start = parts.load_row(shared.start.at[slot], shape)
    score = parts.hide(score, at, start, parts.load_row(shared.end.at[slot], shape))
  parts.release(shared.keys_free.at[slot])
  now = jnp.maximum(highest, score.max(axis=1))
  shrink = jnp.exp2(highest - now)
  part = jnp.exp2(score - parts.spread(now, shape))
  mixed = mixed * parts.spread(shrink, mixed.shape)
  total = total * shrink + part.sum(axis=1)
  part = part.astype(shared.value.dtype)
  mixed, total, now, part = lax.optimization_barrier((mixed, total, now, part))
  plgpu.barrier_arrive(shared.turn)
  plgpu.barrier_wait(shared.values_here.at[slot])
  plgpu.barrier_wait(shared.turn)

  def await_next() -> None:
    """The next keys arrive."""
    following = lax.rem(step + 1, slots)
    wait = functools.partial(plgpu.barrier_wait, shared.keys_here.at[following])
    pl.when(step + 1 < live)(wait)

  mixed = parts.accumulate(mixed, part, shared.value.at[slot], await_next)
  plgpu.barrier_arrive(shared.values_free.at[slot])
  return now, total, mixed


def _pass(turn: Any) -> None:
  """Both computing warpgroups meet."""
  plgpu.barrier_arrive(turn)
  plgpu.barrier_wait(turn)
