"""Chunks that gather as they go: groups, what is compiled, and how that grows."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import xla
from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals, causal_intervals, window_intervals

H, D, W, C = 2, 8, 16, 32


def attend(query, key, value, score, end=None, is_parallel=False, **options):
  """The whole operation, selection too unless it is given; gradients of out squared."""
  n = query.shape[1]

  def measure(query, key, value, score):
    """Of out."""
    found = eviction_times(score, W, is_parallel=is_parallel) if end is None else end
    intervals = Intervals(causal_intervals(n).start, found)
    chunked = {"bias": score, "width": W, "chunk": C, "backend": "xla", **options}
    out, _ = interval_attention(query, key, value, intervals, **chunked)
    return (out**2).sum(), out

  return jax.grad(measure, (0, 1, 2, 3), has_aux=True)(query, key, value, score)


def make_arrays(n, make=jax.random.normal):
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = ((1, n, H, D), (1, n, 1, D), (1, n, 1, D), (1, 1, n))
  return [make(k, s) for k, s in zip(keys, shapes, strict=True)]


def lower(n, **options):
  """The program for n tokens."""
  arrays = make_arrays(n, lambda _, shape: jax.ShapeDtypeStruct(shape, jnp.float32))
  return jax.jit(functools.partial(attend, **options)).lower(*arrays)


@pytest.mark.parametrize("tiles", [1, 3, 5], ids=["one", "one left over", "all"])
@pytest.mark.parametrize("is_deterministic", [False, True])
def test_results_do_not_depend_on_how_many_chunks_go_at_once(
  tiles, is_deterministic, monkeypatch
):
  arrays = make_arrays(5 * C)
  arrays.append(jnp.minimum(jnp.arange(5 * C) + W, 100)[None, None])
  expected = jax.jit(functools.partial(attend, backend="reference"))(*arrays)
  monkeypatch.setitem(xla.SCORES, "cpu", tiles * C * H * (W + C))
  found = jax.jit(functools.partial(attend, is_deterministic=is_deterministic))(*arrays)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize(("is_deterministic", "loops"), [(False, 1), (True, 2)])
def test_sums_in_a_fixed_order_add_one_chunk_at_a_time(is_deterministic, loops):
  arrays = make_arrays(7 * C)
  end = jnp.minimum(jnp.arange(7 * C) + W, 7 * C)[None, None]
  run = functools.partial(attend, end=end, is_deterministic=is_deterministic)
  # Slots take a loop over chunks; gradients a second one, or a single step.
  assert str(jax.make_jaxpr(run)(*arrays)).count("length=7") == loops


def test_a_dead_slot_reads_no_key_of_the_next_head():
  """Fewer keys than slots are carried: what fills up lies where another head begins."""
  keys = jax.random.split(jax.random.key(1), 4)
  shapes = ((1, 2 * C, 2, D), (1, 2 * C, 2, D), (1, 2 * C, 2, D), (1, 2, 2 * C))
  arrays = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
  position = jnp.arange(2 * C)
  end = jnp.stack([position + 1, jnp.full(2 * C, 2 * C)])  # itself alone; all, up to W
  end = jnp.where((position < W) | (end < 2 * C), end, position)[None]  # 1 2 n
  found, expected = (
    jax.jit(functools.partial(attend, end=end, backend=backend))(*arrays)
    for backend in ("xla", "reference")
  )
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_no_array_of_the_program_has_the_square_of_the_length():
  n = 1024
  program = lower(n).compile().as_text()
  sizes = [
    np.prod([int(x) for x in shape.split(",")])
    for shape in re.findall(r"\b[a-z]+\d*\[([\d,]+)\]", program)
  ]
  assert n * W <= max(sizes) < n * n / 4


def test_work_and_memory_grow_with_the_length(monkeypatch):
  memory = [
    lower(n).compile().memory_analysis().temp_size_in_bytes for n in (1024, 2048)
  ]
  assert memory[1] < 2.2 * memory[0]
  # A loop's body is counted once, so that here all chunks go in one step.
  monkeypatch.setitem(xla.SCORES, "cpu", 10**12)
  work = [
    lower(n, is_parallel=True).compile().cost_analysis()["flops"] for n in (1024, 2048)
  ]
  assert 1.9 < work[1] / work[0] < 2.2


def test_keys_may_be_wider_than_values_and_sums_have_a_gradient():
  query, key, value, score = make_arrays(4 * C)

  @functools.partial(jax.jit, static_argnums=(1, 2))
  def measure(key, chunk, backend):
    """Sums alone."""
    lse = interval_attention(
      *(query, key, value[..., :3], window_intervals(4 * C, W)),
      bias=score,
      width=W,
      chunk=chunk,
      backend=backend,
    ).lse
    return (lse**2).sum()

  found = jax.grad(measure)(key, C, "xla")
  np.testing.assert_allclose(
    found, jax.grad(measure)(key, None, "reference"), atol=2e-4, rtol=1e-5
  )


@pytest.mark.slow
def test_a_hundred_thousand_tokens_run():
  query, key, value, score = make_arrays(131_072)
  grads, out = jax.jit(attend)(query, key, value, score)
  assert all(np.isfinite(x).all() for x in (out, *grads))
