"""Shifted products: equal to a grouped convolution, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.depthwise import convolve_frames

KERNELS = [(5, False), (1, False), (4, True), (5, True)]


def draw(kernel, width=3, frames=9):
  x, weights, to = (
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(2, frames, width), (kernel, width), (2, frames, width)])
  )
  return x, weights, to


def grouped(x, weights, *, causal):
  """The same by XLA's convolution."""
  kernel, width = weights.shape
  sides = (kernel - 1, 0) if causal else (kernel // 2, kernel // 2)
  return jax.lax.conv_general_dilated(
    x,
    weights[:, None],
    (1,),
    [sides],
    dimension_numbers=("NWC", "WIO", "NWC"),
    feature_group_count=width,
  )


@pytest.mark.parametrize(("kernel", "causal"), KERNELS)
def test_sums_and_gradients_are_those_of_a_grouped_convolution(kernel, causal):
  x, weights, to = draw(kernel)

  def both(convolve):
    y, back = jax.vjp(lambda x, w: convolve(x, w, causal=causal), x, weights)
    return y, *back(to)

  found, expected = jax.jit(lambda: (both(convolve_frames), both(grouped)))()
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_row_shorter_than_the_kernel_is_convolved_too():
  x, weights, _ = draw(7, frames=2)
  found = convolve_frames(x, weights)
  np.testing.assert_allclose(found, grouped(x, weights, causal=False), atol=1e-5)


def test_the_dtype_of_the_frames_stays_and_sums_of_gradients_are_float32():
  x, weights, to = (part.astype(jnp.bfloat16) for part in draw(3, frames=2_000))
  y, back = jax.vjp(convolve_frames, x, weights)
  to_x, to_weights = back(to)
  assert y.dtype == to_x.dtype == to_weights.dtype == jnp.bfloat16
  exact = (x.astype(jnp.float32) * to.astype(jnp.float32)).sum((0, 1))
  # one rounding of the products and one of the sum: 2^-8 of each, which average out
  np.testing.assert_allclose(to_weights[1].astype(jnp.float32), exact, rtol=0.02)
