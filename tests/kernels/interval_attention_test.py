"""The primitive: what every way to compute it agrees on, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import (
  Intervals,
  causal_intervals,
  dense_mask,
  intersect,
  prefix_intervals,
  segment_intervals,
  valid_intervals,
  window_intervals,
)

B, N, H, G, D, W = 2, 48, 4, 2, 8, 7
KEYS = jax.random.split(jax.random.key(0), 7)
QUERY = jax.random.normal(KEYS[0], (B, N, H, D))
KEY = jax.random.normal(KEYS[1], (B, N, G, D))
VALUE = jax.random.normal(KEYS[2], (B, N, G, D))
BIAS = jax.random.normal(KEYS[3], (B, G, N))
SEGMENTS = jnp.asarray([[0] * 20 + [1] * 28, [0] * 3 + [1] * 45])
VALID = jnp.ones((B, N), bool).at[0, 40:].set(False).at[1, :5].set(False)
D_OUT = jax.random.normal(KEYS[4], (B, N, H, D))
D_LSE = jax.random.normal(KEYS[5], (B, N, H))


def dynamic(width=W, **which):
  end = eviction_times(BIAS, width, chunk=16, **which)
  return Intervals(causal_intervals(N).start, end)


INTERVALS = {
  "causal": causal_intervals(N),
  "window": window_intervals(N, W),
  "prefix": prefix_intervals(N, jnp.asarray([5, 0])),
  "packed": intersect(causal_intervals(N), segment_intervals(SEGMENTS)),
  "padded": intersect(causal_intervals(N), valid_intervals(VALID, N)),
  "dynamic": dynamic(),
  "dynamic, packed, padded": dynamic(valid=VALID, segments=SEGMENTS),
}


@functools.partial(jax.jit, static_argnames=("offset", "width", "chunk", "backend",
                                             "is_deterministic"))  # fmt: skip
def attend(arrays, intervals, offset=0, **options):
  """(out, lse) of queries from `offset` on, and gradients by all arrays."""

  def measure(query, key, value, bias):
    """Every result counts."""
    found = interval_attention(
      query[:, offset:], key, value, intervals, bias=bias, **options
    )
    lse = jnp.where(jnp.isfinite(found.lse), found.lse, 0.0)
    total = (found.out * D_OUT[:, offset:]).sum() + (lse * D_LSE[:, offset:]).sum()
    return total, found

  grads, found = jax.grad(measure, (0, 1, 2, 3), has_aux=True)(*arrays)
  return *found, *grads


def by_definition(query, key, value, bias, intervals):
  """NumPy, in float64: one softmax for each query."""
  query, key, value, bias = (
    np.asarray(x, np.float64) for x in (query, key, value, bias)
  )
  visible = np.asarray(dense_mask(intervals, jnp.arange(N)))
  visible = np.broadcast_to(visible, (B, G, N, N))
  out, lse = np.zeros((B, N, H, D)), np.full((B, N, H), np.inf)
  for b, h, i in np.ndindex(B, H, N):
    g = h // (H // G)
    seen = visible[b, g, i]
    if seen.any():
      score = key[b, seen, g] @ query[b, i, h] / np.sqrt(D) + bias[b, g, seen]
      total = np.exp(score).sum()
      out[b, i, h] = np.exp(score) @ value[b, seen, g] / total
      lse[b, i, h] = np.log(total)
  return out, lse


ARRAYS = (QUERY, KEY, VALUE, BIAS)


def assert_close(found, expected, atol):
  """Of all results and gradients."""
  names = ("out", "lse", "d_query", "d_key", "d_value", "d_bias")
  for name, a, b in zip(names, found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("backend", ["reference", "xla"])
@pytest.mark.parametrize("name", INTERVALS)
def test_backends_compute_the_definition(name, backend):
  out, lse, *_ = attend(ARRAYS, INTERVALS[name], backend=backend)
  expected_out, expected_lse = by_definition(*ARRAYS, INTERVALS[name])
  np.testing.assert_allclose(out, expected_out, atol=2e-6)
  np.testing.assert_allclose(lse, expected_lse, atol=2e-6)


@pytest.mark.parametrize("chunk", [1, 6, 16, N])
@pytest.mark.parametrize("backend", ["reference", "xla"])
def test_chunks_of_any_size_give_the_dense_results_and_gradients(chunk, backend):
  intervals = INTERVALS["dynamic, packed, padded"]
  dense = attend(ARRAYS, intervals, backend="reference")
  found = attend(ARRAYS, intervals, backend=backend, width=W, chunk=chunk)
  assert_close(found, dense, atol=1e-5)


@pytest.mark.parametrize("name", ["window", "packed", "dynamic"])
def test_any_causal_mask_with_a_width_goes_in_chunks(name):
  width = 45 if name == "packed" else W
  found = attend(ARRAYS, INTERVALS[name], backend="xla", width=width, chunk=8)
  assert_close(found, attend(ARRAYS, INTERVALS[name], backend="reference"), 1e-5)


@pytest.mark.parametrize("offset", [13, 32])
def test_queries_may_be_the_last_positions_only(offset):
  expected = attend(ARRAYS, INTERVALS["dynamic"], offset, backend="reference")
  chunk = {13: 7, 32: 16}[offset]
  found = attend(ARRAYS, INTERVALS["dynamic"], offset, width=W, chunk=chunk)
  assert_close(found, expected, 1e-5)
  out, *_ = attend(ARRAYS, INTERVALS["dynamic"], backend="reference")
  np.testing.assert_allclose(found[0], out[:, offset:], atol=2e-6)


def test_lengths_that_no_chunk_divides_are_padded():
  long = [jnp.concatenate([x] * 8, axis=2 if x is BIAS else 1) for x in ARRAYS]
  query, key, value, bias = (x[..., :381] if x.ndim == 3 else x[:, :381] for x in long)
  attend_now = jax.jit(interval_attention, static_argnames=("width", "backend"))
  window = window_intervals(381, 3)
  found = attend_now(query, key, value, window, bias=bias, width=3)
  expected = attend_now(query, key, value, window, bias=bias, backend="reference")
  np.testing.assert_allclose(found.out, expected.out, atol=2e-6)
  np.testing.assert_allclose(found.lse, expected.lse, atol=2e-6)


def test_causal_intervals_are_causal_attention():
  mixed = interval_attention(QUERY, KEY, VALUE, INTERVALS["causal"]).out
  peer = jax.nn.dot_product_attention(QUERY, KEY, VALUE, is_causal=True)
  np.testing.assert_allclose(mixed, peer, atol=2e-6)


def test_equal_scores_are_a_sliding_window():
  arrays = (QUERY, KEY, VALUE, jnp.zeros_like(BIAS))
  end = eviction_times(arrays[3], W, chunk=16)
  equal = attend(arrays, Intervals(INTERVALS["causal"].start, end), width=W, chunk=16)
  window = attend(arrays, INTERVALS["window"], backend="reference")
  assert_close(equal, window, 1e-5)


def test_positions_say_where_the_queries_are():
  positions = jnp.asarray([3, 4, 30])
  some = interval_attention(
    QUERY[:, positions], KEY, VALUE, INTERVALS["dynamic"], positions=positions
  )
  every = interval_attention(QUERY, KEY, VALUE, INTERVALS["dynamic"])
  np.testing.assert_allclose(some.out, every.out[:, positions], atol=2e-6)


def test_a_group_shares_what_repeated_keys_would_have_each():
  group = H // G
  repeated = (
    QUERY,
    *(jnp.repeat(x, group, axis=2) for x in (KEY, VALUE)),
    jnp.repeat(BIAS, group, axis=1),
  )
  start, end = INTERVALS["dynamic"]
  found = attend(ARRAYS, Intervals(start, end), width=W, chunk=16)
  apart = attend(
    repeated, Intervals(start, jnp.repeat(end, group, axis=1)), width=W, chunk=16
  )
  np.testing.assert_allclose(found[0], apart[0], atol=2e-6)
  for a, b in zip(found[3:5], apart[3:5], strict=True):
    np.testing.assert_allclose(a, b.reshape(B, N, G, group, D).sum(3), atol=1e-5)
  d_bias = apart[5].reshape(B, G, group, N).sum(2)
  np.testing.assert_allclose(found[5], d_bias, atol=1e-5)


def test_a_constant_on_all_biases_changes_no_output():
  more = attend((*ARRAYS[:3], BIAS + 3.0), INTERVALS["dynamic"], width=W, chunk=16)
  plain = attend(ARRAYS, INTERVALS["dynamic"], width=W, chunk=16)
  np.testing.assert_allclose(more[0], plain[0], atol=1e-5)
  np.testing.assert_allclose(more[1], plain[1] + 3.0, atol=1e-5)


def test_keys_that_nobody_keeps_get_no_gradient():
  _, _, _, *grads = attend(ARRAYS, INTERVALS["dynamic"], width=W, chunk=16)
  never = np.asarray(INTERVALS["dynamic"].end <= jnp.arange(N))  # b g m
  assert 0 < never.sum() < never.size
  d_key, d_value = (np.swapaxes(x, 1, 2) for x in grads[:2])
  for gradient in (d_key, d_value, grads[2]):
    assert not np.any(gradient[never])
    assert np.any(gradient[~never])


@pytest.mark.parametrize("width", [None, W])
@pytest.mark.parametrize("backend", ["reference", "xla"])
def test_queries_that_see_nothing_get_zero_and_no_gradient(width, backend):
  intervals = INTERVALS["padded"]
  if width:
    intervals = dynamic(valid=VALID, segments=SEGMENTS)
  options = {"width": width, "chunk": 16} if width else {}
  out, lse, d_query, *grads = attend(ARRAYS, intervals, backend=backend, **options)
  assert (out[1, :3] == 0).all() and (lse[1, :3] == np.inf).all()
  assert (d_query[1, :3] == 0).all()
  assert all(np.isfinite(x).all() for x in (d_query, *grads))


def test_half_precision_is_summed_in_float32():
  half = tuple(x.astype(jnp.bfloat16) for x in ARRAYS[:3])
  exact = tuple(x.astype(jnp.float32) for x in half)
  intervals = INTERVALS["dynamic"]
  expected = attend((*exact, BIAS), intervals, width=W, chunk=16)
  found = attend((*half, BIAS), intervals, width=W, chunk=16)
  assert [x.dtype for x in found] == ["bfloat16", "float32"] + 3 * ["bfloat16"] + [
    "float32"
  ]
  np.testing.assert_allclose(found[1], expected[1], atol=2e-6)  # no rounding yet
  for a, b in zip(found[:1] + found[2:], expected[:1] + expected[2:], strict=True):
    error = np.linalg.norm(np.asarray(a, np.float32) - b) / np.linalg.norm(b)
    assert error < 1e-2  # bfloat16 has 8 bits; a share is rounded once


@pytest.mark.parametrize("backend", ["reference", "xla"])
def test_a_fixed_order_of_sums_repeats_bit_for_bit_and_only_rounds_otherwise(backend):
  options = {"width": W, "chunk": 8, "backend": backend}
  fixed = functools.partial(attend, is_deterministic=True, **options)
  first, second = (fixed(ARRAYS, INTERVALS["dynamic"]) for _ in range(2))
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)
  assert_close(attend(ARRAYS, INTERVALS["dynamic"], **options), first, 1e-5)


@pytest.mark.parametrize(
  ("heads", "options", "message"),
  [
    ((6, 4), {}, "4 heads of keys do not divide 6 heads of queries; give a divisor"),
    ((4, 2), {"width": 0}, "width = 0 lets a query see nothing; give at least 1"),
    ((4, 2), {"width": 4, "chunk": 5}, "chunk = 5 does not divide 12 queries"),
    ((4, 2), {"chunk": 0}, "chunk = 0 does not divide"),
    ((4, 2), {"backend": "tpu"}, "a tpu only and this machine has a cpu; 'xla'"),
    ((4, 2), {"backend": "gpu"}, "a gpu only and this machine has a cpu; 'xla'"),
    ((4, 2), {"backend": "cuda"}, "'cuda' is none of auto, reference, xla, tpu, gpu"),
  ],
)
def test_bad_input_is_refused(heads, options, message):
  h, g = heads
  query, key = jnp.zeros((1, 12, h, 8)), jnp.zeros((1, 12, g, 8))
  with pytest.raises(ValueError, match=message):
    interval_attention(query, key, key, causal_intervals(12), **options)


def test_more_queries_than_keys_are_refused_with_a_width():
  key = jnp.zeros((1, 4, 1, 8))
  with pytest.raises(ValueError, match="12 queries are more than 4 keys"):
    interval_attention(jnp.zeros((1, 12, 1, 8)), key, key, causal_intervals(4), width=2)


def test_positions_beyond_int32_are_refused():
  def attend_long(key, start):
    """As much as is looked at before anything is computed."""
    return interval_attention(key[:, :1], key, key, Intervals(start, start), width=4)

  key = jax.ShapeDtypeStruct((1, 2**31, 1, 8), jnp.float32)
  start = jax.ShapeDtypeStruct((1, 1, 2**31), jnp.int32)
  with pytest.raises(ValueError, match="2147483648 positions do not fit int32; shard"):
    jax.eval_shape(attend_long, key, start)
