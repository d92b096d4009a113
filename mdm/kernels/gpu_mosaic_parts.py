"""What the Hopper kernels share: launching, shared memory, layouts, the ring of copies.

A program has `GROUPS` warpgroups that compute and one more that copies. Blocks travel
through a ring of slots in shared memory. For each slot there is a barrier that says its
block has arrived, and one on which the computing warpgroups say they are done with it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.experimental.pallas as pl
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from mdm.kernels.gpu_blocks import WorkList

GROUPS = 2  # that compute; the next one copies
WARPGROUP_ROWS = 64  # of a product, as wgmma has them


def launch(
  body: Callable[..., None],
  work: WorkList,
  made: Sequence[Any],
  shared: Any,
  interpret: Any,
) -> Callable[..., Any]:
  """The kernel over tiles and blocks, three warpgroups each.

  Args:
    body: gets the work list, the inputs, the outputs and `shared`.
    work: one program for each of its rows.
    made: shapes and dtypes of the outputs.
    shared: scratch memory and barriers.
    interpret: parameters of `plgpu.InterpretGPUParams`, or False.
  """
  tiles, blocks = work.ends.shape[:2]
  kernel = plgpu.kernel(
    body,
    out_type=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in made],
    scratch_types={"shared": shared},
    grid=(tiles, blocks),
    grid_names=("tile", "block"),
    num_threads=GROUPS + 1,
    thread_name="group",
    compiler_params=plgpu.CompilerParams(
      approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Lane
    ),
    interpret=interpret or None,
  )
  return lambda *given: kernel(*work, *given)


def matrix(count: int, rows: int, width: int, dtype: Any) -> Any:
  """Shared memory for blocks that go into products: rows of 64 entries, swizzled."""
  return plgpu.SMEM(
    (count, rows, width),
    dtype,
    transforms=(plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128)),
  )


def arrivals(slots: int, copies: int = 1) -> plgpu.Barrier:
  """For each slot, the barrier that all its copies have arrived."""
  return plgpu.Barrier(num_arrivals=copies, num_barriers=slots)


def releases(slots: int) -> plgpu.Barrier:
  """For each slot, the barrier that all computing warpgroups are done with it."""
  return plgpu.Barrier(num_arrivals=GROUPS, num_barriers=slots)


def load_column(ref: Any) -> jax.Array:
  """A number per row of a product."""
  return plgpu.layout_cast(ref[...], plgpu.Layout.WGMMA.reduce(1))


def load_row(ref: Any, shape: tuple[int, int]) -> jax.Array:
  """A number per column of a product, in all rows."""
  row = plgpu.layout_cast(ref[...], plgpu.Layout.WGMMA.reduce(0))
  return lax.broadcast_in_dim(row, shape, [1])


def fill_column(rows: int, value: float) -> jax.Array:
  """The same number for each row of a product."""
  column = jnp.full((rows,), value, jnp.float32)
  return plgpu.layout_cast(column, plgpu.Layout.WGMMA.reduce(1))


def fill_matrix(shape: tuple[int, int]) -> jax.Array:
  """A product's sum, at zero."""
  return plgpu.layout_cast(jnp.full(shape, 0.0, jnp.float32), plgpu.Layout.WGMMA)


def spread(column: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """A number per row, in all columns."""
  return lax.broadcast_in_dim(column, shape, [0])


def multiply(one: Any, other: Any) -> jax.Array:
  """The product one other^T, both in shared memory, summed in float32."""
  shape = (one.shape[0], other.shape[0])

  def product(total: Any) -> jax.Array:
    """Waits for the matrix unit."""
    plgpu.wgmma(total, one, other.transpose((1, 0)))
    return total[...]

  return pl.run_scoped(product, plgpu.ACC(shape, jnp.float32))


def accumulate(
  total: jax.Array,
  one: jax.Array,
  other: Any,
  meanwhile: Callable[[], None] | None = None,
) -> jax.Array:
  """Total + one other, `one` in registers, rounded, and `other` in shared memory.

  Args:
    meanwhile: what is done while the matrix unit works.
  """

  def product(refs: Any) -> None:
    """Sums in place."""
    plgpu.wgmma(refs, one, other)
    if meanwhile is not None:
      meanwhile()

  return pl.run_state(product)(plgpu.ACC.init(total))


def fetch_blocks(
  total: jax.Array, slots: int, free: Any, copy: Callable[[jax.Array, jax.Array], None]
) -> None:
  """The copying warpgroup: fills each slot as soon as its last block is done with.

  Args:
    total: blocks to come.
    slots: of the ring.
    free: barriers `releases(slots)`.
    copy: starts the copies of a step into a slot.
  """
  plgpu.set_max_registers(40, action="decrease")

  @pl.loop(0, total)
  def fetch(step: jax.Array) -> None:
    """One block; the first ones find their slots empty."""
    slot = lax.rem(step, jnp.int32(slots))

    @pl.when(step >= slots)
    def wait() -> None:
      """Until nobody reads the slot."""
      plgpu.barrier_wait(free.at[slot])

    copy(step, slot)


def release(free: Any) -> None:
  """Done with a slot, of which this warpgroup has read numbers into registers.

  Copies go another way to shared memory than such reads: the fence orders the two.
  """
  plgpu.commit_smem()
  plgpu.barrier_arrive(free)


def copy_in(
  names: Sequence[str],
  sources: Any,
  place: tuple[Any, ...],
  shared: Any,
  slot: jax.Array,
  here: Any,
) -> None:
  """Starts the copies of a block's arrays into a slot, each an arrival at `here`."""
  for name in names:
    target = getattr(shared, name).at[slot]
    plgpu.copy_gmem_to_smem(sources[name].at[place], target, here)


def walk(full: jax.Array, live: jax.Array, step: Callable[..., Any], carry: Any) -> Any:
  """The full blocks, then the partial ones."""
  carry = lax.fori_loop(0, full, functools.partial(step, is_partial=False), carry)
  return lax.fori_loop(full, live, functools.partial(step, is_partial=True), carry)


def hide(
  score: jax.Array, at: jax.Array, start: jax.Array, end: jax.Array
) -> jax.Array:
  """-inf where a row's position lies outside a key's interval."""
  return jnp.where((start <= at) & (at < end), score, -jnp.inf)
