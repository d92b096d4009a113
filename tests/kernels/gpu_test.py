"""The GPU kernels against the readable backend: interpreted, lowered, and on a GPU.

On an NVIDIA GPU: `XLA_FLAGS= JAX_PLATFORMS=cuda pytest tests/kernels/gpu_test.py`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import gpu, gpu_blocks, reference
from mdm.kernels.eviction import eviction_times
from mdm.kernels.intervals import causal_intervals, window_intervals
from mdm.kernels.tiles import Saved, Tiles

plgpu = pytest.importorskip(
  "jax.experimental.pallas.mosaic_gpu", reason="this jaxlib has no Mosaic GPU"
)
from mdm.kernels import gpu_mosaic_parts  # noqa: E402

T, R, M = 2, 150, 200  # ragged, and several blocks of rows and of keys
SCALE = 0.3
CAPABILITY = (
  jax.devices()[0].compute_capability if jax.default_backend() == "gpu" else "none"
)
ON_GPU = {
  "triton": pytest.mark.skipif(CAPABILITY == "none", reason="needs an NVIDIA GPU"),
  "mosaic": pytest.mark.skipif(
    CAPABILITY != "9.0", reason=f"needs capability 9.0 and this device has {CAPABILITY}"
  ),
}
SIMULATED = pytest.mark.skipif(
  not hasattr(plgpu, "InterpretGPUParams"),
  reason=f"JAX {jax.__version__} cannot simulate a Hopper GPU; 0.12 can",
)


def random_intervals(m, r):
  """Some keys are seen by nobody, and their blocks lie anywhere."""
  keys = jax.random.split(jax.random.key(7))
  start = jax.random.randint(keys[0], (T, m), 0, r)
  return start, start + jax.random.randint(keys[1], (T, m), -20, 60)


def dynamic_intervals(m, r):
  """Kept keys under a dynamic mask, the last ones padding."""
  score = jax.random.normal(jax.random.key(5), (1, T, m))
  valid = jnp.arange(m)[None] < m - 40
  end = eviction_times(score, 30, valid=valid, chunk=50)[0]
  return jnp.broadcast_to(jnp.arange(m), (T, m)), end


def early_intervals(m, r):
  """Only the first few rows see anything."""
  return jnp.zeros((T, m), jnp.int32), jnp.full((T, m), 10, jnp.int32)


# Name: intervals of m keys for r rows, heads per group (they divide the rows).
CASES = {
  "causal": (lambda m, r: causal_intervals(m), 1),
  "window": (lambda m, r: window_intervals(m, 20), 2),
  "dynamic": (dynamic_intervals, 3),
  "random": (random_intervals, 1),
  "dead rows": (early_intervals, 2),
}


def make_tiles(name, *, t=T, r=R, m=M, widths=(48, 24), dtype=jnp.float32):
  intervals, group = CASES[name]
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = (T, r, widths[0]), (T, m, widths[0]), (T, m, widths[1])
  position = jnp.arange(r) // group
  tiles = Tiles(
    *(jax.random.normal(k, x, dtype) for k, x in zip(keys, shapes, strict=False)),
    jax.random.normal(keys[3], (T, m)),
    *(jnp.broadcast_to(x.reshape(-1, m), (T, m)) for x in intervals(m, r)),
    jnp.broadcast_to(position, (T, r)).astype(jnp.int32),
  )
  return Tiles(*(x[:t] for x in tiles))


def save(tiles, out, lse):
  """What the backward pass gets, with gradients of both results."""
  keys = jax.random.split(jax.random.key(9))
  d_out = jax.random.normal(keys[0], out.shape, out.dtype)
  d_lse = jnp.where(jnp.isinf(lse), 0.0, jax.random.normal(keys[1], lse.shape))
  delta = (out.astype(jnp.float32) * d_out.astype(jnp.float32)).sum(-1) - d_lse
  return Saved(lse, d_out, delta)


@functools.partial(jax.jit, static_argnames=("kernel", "interpret"))
def attend(tiles, saved=None, kernel=None, interpret=False):
  """Results, what is saved of them and gradients; without a kernel the reference's."""
  if kernel is None:
    backend, how = reference, {}
  else:
    backend, how = gpu, {"kernel": kernel, "interpret": interpret}
  out, lse = backend.forward(tiles, SCALE, **how)
  saved = save(tiles, out, lse) if saved is None else saved
  return (out, lse), saved, backend.backward(tiles, SCALE, saved, **how)


def agree(kernel, name, *, interpret, tolerance, **how):
  """Results within a tolerance, gradients within half of it relative to their norm."""
  tiles = make_tiles(name, **how)
  exact = Tiles(*(x.astype(jnp.float32) for x in tiles[:3]), *tiles[3:])
  with jax.default_matmul_precision("highest"):
    results, saved, grads = attend(exact)
  saved = saved._replace(d_out=saved.d_out.astype(tiles.value.dtype))
  found, _, slopes = attend(tiles, saved, kernel, interpret)
  for x, y in zip(found, results, strict=True):
    np.testing.assert_allclose(x.astype(jnp.float32), y, atol=tolerance)
  for x, y, of in zip(slopes, grads, tiles, strict=False):
    error = np.linalg.norm(x.astype(jnp.float32) - y)
    assert x.dtype == of.dtype and error < tolerance / 2 * np.linalg.norm(y)


@pytest.mark.parametrize("name", CASES)
def test_interpreted_results_and_gradients_are_the_reference_s(name):
  agree("triton", name, interpret=True, tolerance=1e-5)


def test_interpreted_bfloat16_is_as_near_as_its_eight_bits():
  agree("triton", "dynamic", interpret=True, tolerance=2e-2, dtype=jnp.bfloat16)


@ON_GPU["triton"]
@pytest.mark.parametrize("name", CASES)
def test_triton_on_a_gpu_agrees_in_float32(name):
  agree("triton", name, interpret=False, tolerance=1e-4)


@pytest.mark.parametrize(
  "kernel", [pytest.param(x, marks=y) for x, y in ON_GPU.items()]
)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("width", gpu.WIDTHS)
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_half_precision_is_as_near_as_its_bits(kernel, dtype, width, name):
  size = {"r": 600, "m": 900, "widths": (width, width), "dtype": dtype}
  agree(kernel, name, interpret=False, tolerance=2e-2, **size)


@pytest.fixture
def simulator(monkeypatch):
  """A simulated Hopper GPU that reports races.

  It has no product with an operand in registers that is added to registers, so that one
  is done here, with the fence that reading shared memory for it asks for.
  """

  def accumulate(total, one, other, meanwhile=None):
    total = total + jnp.dot(one.astype(jnp.float32), other[...].astype(jnp.float32))
    plgpu.commit_smem()
    if meanwhile is not None:
      meanwhile()
    return total

  monkeypatch.setattr(gpu_mosaic_parts, "accumulate", accumulate)
  return plgpu.InterpretGPUParams(detect_races=True)


@SIMULATED
@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "width"), [*((name, 128) for name in CASES), ("dynamic", 64)]
)
def test_on_a_simulated_gpu_there_are_no_races_and_the_results_agree(
  simulator, name, width
):
  size = {"t": 1, "r": 140, "m": 300, "widths": (width, width), "dtype": jnp.bfloat16}
  agree("mosaic", name, interpret=simulator, tolerance=2e-2, **size)


@pytest.mark.parametrize("name", CASES)
def test_full_blocks_need_no_mask_and_dead_ones_hold_nothing(name):
  tiles = gpu_blocks.pad_tiles(make_tiles(name), 64, 32)
  at = np.asarray(tiles.position)[:, :, None]
  visible = (np.asarray(tiles.start)[:, None] <= at) & (
    at < np.asarray(tiles.end)[:, None]
  )
  visible = visible.reshape(T, -1, 64, visible.shape[2] // 32, 32).swapaxes(2, 3)
  lists = gpu_blocks.key_work(tiles, 64, 32), gpu_blocks.row_work(tiles, 64, 32)
  for work, seen in zip(lists, (visible, visible.swapaxes(1, 2)), strict=True):
    work = jax.tree.map(np.asarray, work)
    for t, p in np.ndindex(work.ends.shape[:2]):
      full, live = work.ends[t, p]
      assert seen[t, p, work.blocks[t, p, :full]].all()
      assert not seen[t, p, work.blocks[t, p, live:]].any()
      assert sorted(work.blocks[t, p].tolist()) == list(range(work.blocks.shape[2]))


def test_causal_blocks_above_the_diagonal_are_dead_and_below_it_full():
  tiles = gpu_blocks.pad_tiles(make_tiles("causal", r=256, m=256), 64, 64)
  ends = gpu_blocks.key_work(tiles, 64, 64).ends[0]
  np.testing.assert_array_equal(ends, [[0, 1], [1, 2], [2, 3], [3, 4]])


def test_blocks_that_no_row_sees_are_not_read():
  tiles = make_tiles("causal")
  seen = jnp.arange(M) // 64 == 1  # the second block, by all rows
  start, end = jnp.zeros((T, M), jnp.int32), jnp.int32(R) * seen
  tiles = tiles._replace(start=start, end=jnp.broadcast_to(end, (T, M)))
  bad = tiles._replace(
    key=jnp.where(seen[:, None], tiles.key, jnp.nan),
    value=jnp.where(seen[:, None], tiles.value, jnp.nan),
  )
  (out, _), saved, grads = attend(tiles)
  (found, _), _, slopes = attend(bad, saved, "triton", interpret=True)
  np.testing.assert_allclose(found, out, atol=1e-5)
  for x, y in zip(slopes, grads, strict=True):
    np.testing.assert_allclose(x, y, atol=1e-4)


def lower(kernel, dtype):
  """What both passes are for a GPU, exported on this machine."""
  size = {"r": 300, "m": 400, "widths": (64, 64), "dtype": dtype}
  tiles = jax.eval_shape(lambda: make_tiles("causal", **size))
  out, lse = jax.eval_shape(lambda x: reference.forward(x, SCALE), tiles)
  unchecked = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
  passes = (
    (lambda x: gpu.forward(x, SCALE, kernel=kernel), (tiles,)),
    (
      lambda x, y: gpu.backward(x, SCALE, y, kernel=kernel),
      (tiles, Saved(lse, out, lse)),
    ),
  )
  export = functools.partial(
    jax.export.export,
    platforms=["cuda"],
    disabled_checks=unchecked if kernel == "triton" else (),
  )
  return [export(jax.jit(f))(*given).mlir_module() for f, given in passes]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_hopper_s_passes_lower_as_one_kernel_and_two(dtype):
  forward, backward = lower("mosaic", dtype)
  assert forward.count("@mosaic_gpu_v2") == 1 and backward.count("@mosaic_gpu_v2") == 2


@pytest.mark.skipif(
  jax.__version_info__ >= (0, 11), reason="JAX 0.11 asks a GPU how to lower this"
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_triton_s_passes_lower_as_one_kernel_and_two(dtype):
  target = "@__gpu$xla.gpu.triton"
  forward, backward = lower("triton", dtype)
  assert forward.count(target) == 1 and backward.count(target) == 2


def test_hopper_s_kernels_serve_what_they_fit():
  pick = functools.partial(gpu.pick_kernel, capability="9.0", version=13_000)
  tiles = make_tiles("causal", widths=(64, 64), dtype=jnp.bfloat16)
  assert pick(tiles) == "mosaic" and pick(tiles, version=0) == "mosaic"
  assert pick(make_tiles("causal", widths=(64, 64))) == "triton"
  assert pick(make_tiles("causal", dtype=jnp.bfloat16)) == "triton"
  assert pick(tiles, capability="8.0") == "triton"
  assert pick(tiles, version=12_080) == "triton"  # miscompiles masks


@pytest.mark.skipif(CAPABILITY != "none", reason="here is a GPU")
def test_without_a_gpu_the_error_names_what_would_serve():
  with pytest.raises(
    ValueError, match="needs a GPU and this machine has a cpu; 'auto'"
  ):
    gpu.forward(make_tiles("causal"), SCALE)
  with pytest.raises(ValueError, match="kernel = 'cuda' is none of mosaic, triton"):
    gpu.forward(make_tiles("causal"), SCALE, kernel="cuda")
