"""The kernels in the simulator of TPU memory, against the readable backend."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from mdm.kernels import reference, tpu, tpu_blocks
from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import causal_intervals, window_intervals
from mdm.kernels.tiles import Saved, Tiles

T, R, M, D, E = 2, 150, 200, 16, 24  # two blocks of rows and of keys, both ragged
SCALE = 0.3
SIMULATOR = pltpu.InterpretParams(
  detect_races=True,
  uninitialized_memory="nan",
  out_of_bounds_reads="raise",
  dma_execution_mode="on_wait",
  num_cores_or_threads=2,
  random_seed=0,
)


def random_intervals(key):
  start_key, length_key = jax.random.split(key)
  start = jax.random.randint(start_key, (T, M), 0, M)
  return start, start + jax.random.randint(length_key, (T, M), -20, 60)


def dynamic_intervals(key):
  """Kept keys in order of their end, as gathered for a chunk, and padding."""
  score = jax.random.normal(key, (1, T, M))
  valid = jnp.arange(M)[None] < M - 40
  end = eviction_times(score, 30, valid=valid, chunk=50)[0]
  start = jnp.broadcast_to(jnp.arange(M), (T, M))
  return start, end


def tiled(intervals):
  return tuple(jnp.broadcast_to(x[0], (T, M)) for x in intervals)


# Name: intervals, heads per group (they divide the rows).
CASES = {
  "causal": (lambda _: tiled(causal_intervals(M)), 1),
  "window": (lambda _: tiled(window_intervals(M, 20)), 2),
  "dynamic": (dynamic_intervals, 3),
  "random": (random_intervals, 1),
}


def make_tiles(intervals, group=1, dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 5)
  query, key, value = (
    jax.random.normal(k, shape, dtype)
    for k, shape in zip(keys, ((T, R, D), (T, M, D), (T, M, E)), strict=False)
  )
  start, end = intervals(keys[4])
  position = jnp.repeat(jnp.arange(M - R // group, M), group)
  bias = jax.random.normal(keys[3], (T, M))
  position = jnp.broadcast_to(position, (T, R))
  return Tiles(query, key, value, bias, *map(jnp.int32, (start, end)), position)


@functools.partial(jax.jit, static_argnames=("interpret",))
def attend(tiles, *, interpret):
  """Results and gradients of some loss; the backend in numbers if not interpreted."""
  options = dict(block=(128, 128), interpret=interpret) if interpret else {}
  backend = tpu if interpret else reference
  out, lse = backend.forward(tiles, SCALE, **options)
  d_out = jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)
  delta = (out.astype(jnp.float32) * d_out).sum(-1)
  saved = Saved(lse, d_out.astype(out.dtype), delta - 0.1)
  return (out, lse), backend.backward(tiles, SCALE, saved, **options)


def agree(found, wanted, tolerance):
  for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    assert x.dtype == y.dtype
    x, y = np.float32(x), np.float32(y)
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients_are_the_reference_s(name):
  intervals, group = CASES[name]
  tiles = make_tiles(intervals, group)
  found = attend(tiles, interpret=True)
  agree(found, attend(tiles, interpret=None), 2e-5)  # order of the sums


def test_nothing_is_read_before_it_is_written_nor_in_a_race(capfd):
  tiles = make_tiles(random_intervals)
  found = jax.block_until_ready(attend(tiles, interpret=SIMULATOR))
  assert "RACE" not in "".join(capfd.readouterr())
  agree(found, attend(tiles, interpret=None), 2e-5)


def test_bfloat16_is_as_near_as_its_eight_bits():
  tiles = make_tiles(random_intervals, dtype=jnp.bfloat16)
  agree(attend(tiles, interpret=True), attend(tiles, interpret=None), 4e-2)


def test_a_row_that_sees_nothing_is_zero_and_has_no_gradient():
  tiles = make_tiles(random_intervals)
  start = jnp.where(jnp.arange(M) < 100, 60, tiles.start)  # rows 50 to 59 see no key
  tiles = tiles._replace(start=jnp.maximum(start, 60))
  (out, lse), grads = attend(tiles, interpret=True)
  dead = np.asarray(tiles.position[0] < 60)
  assert dead.any() and not dead.all()
  assert (out[:, dead] == 0).all() and np.isposinf(lse[:, dead]).all()
  assert (grads.query[:, dead] == 0).all()
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


def test_blocks_that_no_row_sees_are_not_computed():
  tiles = make_tiles(random_intervals)
  dead = jnp.arange(M) >= 128  # the second block of keys
  tiles = tiles._replace(end=jnp.where(dead, tiles.start, tiles.end))
  wanted = attend(tiles, interpret=True)
  broken = tiles._replace(
    **{
      x: jnp.where(dead[:, None], jnp.nan, getattr(tiles, x)) for x in ("key", "value")
    },
    bias=jnp.where(dead, jnp.nan, tiles.bias),
  )
  jax.tree.map(np.testing.assert_array_equal, attend(broken, interpret=True), wanted)


def test_a_pair_of_blocks_is_live_where_one_row_sees_one_key():
  cut = tpu_blocks.Cut(128, 128, 1)
  tiles = tpu_blocks.pad_tiles(make_tiles(lambda _: tiled(window_intervals(M, 9))), cut)
  seen = (tiles.start[:, None] <= tiles.position[..., None]) & (
    tiles.position[..., None] < tiles.end[:, None]
  )
  seen = seen.reshape(T, 2, 128, 2, 128).any((2, 4))
  assert not seen.all()
  np.testing.assert_array_equal(tpu_blocks.find_live(tiles, cut), seen)


def test_live_blocks_come_first_and_the_last_stays():
  live = jnp.array([[[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]], bool)
  order = tpu_blocks.list_live(live)
  assert order.num_live.tolist() == [[2, 0, 4]]
  assert order.block[0, 0].tolist() == [1, 3, 3, 3]
  assert len(set(order.block[0, 1].tolist())) == 1
  assert order.block[0, 2].tolist() == [0, 1, 2, 3]


def test_blocks_are_as_few_as_allowed_and_no_larger_than_needed():
  tiles = Tiles(
    *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 600, 8), (1, 90, 8))),
    *(None,) * 5,
  )
  assert tpu_blocks.cut_tiles(tiles, (512, 512))[:2] == (384, 128)


def test_more_blocks_than_scalar_memory_holds_are_refused():
  tiles = Tiles(
    *(jax.ShapeDtypeStruct((1, 1 << 18, 8), jnp.float32),) * 2,
    *(None,) * 5,
  )
  with pytest.raises(ValueError, match="give a width, or shard the sequence"):
    tpu_blocks.cut_tiles(tiles, (512, 512))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_passes_lower_for_a_tpu_as_one_kernel_and_two(dtype):
  tiles = jax.eval_shape(lambda: make_tiles(random_intervals, dtype=dtype))
  saved = jax.eval_shape(
    lambda: Saved(jnp.zeros((T, R)), jnp.zeros((T, R, E), dtype), jnp.zeros((T, R)))
  )
  passes = (
    (1, lambda tiles, _: tpu.forward(tiles, SCALE)),
    (2, lambda tiles, saved: tpu.backward(tiles, SCALE, saved)),
  )
  for count, function in passes:
    lowered = jax.jit(function).trace(tiles, saved).lower(lowering_platforms=("tpu",))
    assert lowered.as_text().count("@tpu_custom_call") == count


def test_a_tpu_is_refused_where_there_is_none():
  x = jnp.zeros((1, 4, 1, 8))
  with pytest.raises(ValueError, match="runs on a tpu only"):
    interval_attention(x, x, x, causal_intervals(4), backend="tpu")


@pytest.mark.parametrize("width", [None, 16])
def test_a_mesh_of_tpus_that_are_not_here_chooses_the_kernels(width):
  mesh = jax.sharding.AbstractMesh(
    (2,),
    ("data",),
    axis_types=(jax.sharding.AxisType.Auto,),
    abstract_device=jax.sharding.AbstractDevice("TPU v5 lite", 1, "tpu"),
  )

  def loss(query, key, value):
    intervals = window_intervals(512, 16)
    return interval_attention(query, key, value, intervals, width=width).out.sum()

  x, y = jnp.zeros((2, 512, 4, 16)), jnp.zeros((2, 512, 2, 16))
  with jax.sharding.use_abstract_mesh(mesh):
    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(x, y, y)
  lowered = traced.lower(lowering_platforms=("tpu",))
  assert lowered.as_text().count("@tpu_custom_call") == 3
