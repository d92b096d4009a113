"""Depthwise convolution over frames as a sum of shifted products.

  y[t] = sum_i w[i] x[t + i - before]

A compiler makes one pass over the frames of it, forward and, by the rule below, for the
gradient of x, which is the same sum with the kernel turned round. On a CPU, XLA's own
grouped convolution takes many times as long.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Residuals = tuple[jax.Array, jax.Array]


def convolve_frames(
  x: Float[Array, "b n d"], weights: Float[Array, "k d"], *, causal: bool = False
) -> Float[Array, "b n d"]:
  """Each channel convolved by itself; zeros before the first frame and after the last.

  Args:
    x: frames.
    weights: the kernel of each channel, the earliest frame first.
    causal: whether the last of the kernel's frames is the present one, not the middle.
  """
  kernel = weights.shape[0]
  return _convolve(kernel - 1 if causal else kernel // 2, x, weights)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(
  before: int, x: Float[Array, "b n d"], weights: Float[Array, "k d"]
) -> Float[Array, "b n d"]:
  """The sum above."""
  shifted = _shift(x, len(weights), before)
  parts = (part * weights[i] for i, part in enumerate(shifted))
  return sum(parts, jnp.zeros((), x.dtype))


def _forward(
  before: int, x: Float[Array, "b n d"], weights: Float[Array, "k d"]
) -> tuple[jax.Array, Residuals]:
  """The sum, and what its gradient needs."""
  return _convolve(before, x, weights), (x, weights)


def _backward(
  before: int, residuals: Residuals, gradient: Float[Array, "b n d"]
) -> Residuals:
  """Gradients with respect to frames and kernel, the latter summed in float32."""
  x, weights = residuals
  to_x = _convolve(len(weights) - 1 - before, gradient, weights[::-1])
  parts = (
    (part * gradient).sum((0, 1), dtype=jnp.float32)
    for part in _shift(x, len(weights), before)
  )
  return to_x, jnp.stack(list(parts)).astype(weights.dtype)


_convolve.defvjp(_forward, _backward)


def _shift(
  x: Float[Array, "b n d"], kernel: int, before: int
) -> list[Float[Array, "b n d"]]:
  """The frames that each place of the kernel meets."""
  n = x.shape[1]
  x = jnp.pad(x, ((0, 0), (before, kernel - 1 - before), (0, 0)))
  return [x[:, i : i + n] for i in range(kernel)]
