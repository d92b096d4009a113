"""The Gaussian error linear unit, its slope kept from the forward pass on a CPU.

  y = x Phi(x),  dy/dx = Phi(x) + x phi(x)

with the normal distribution's function Phi and density phi. Left alone, XLA computes
the error function once for the result and again for the gradient.

Source: *Gaussian Error Linear Units*, Hendrycks and Gimpel, 2016.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.kernels.dispatch import target_platform


def gelu(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """The product x Phi(x), exactly; on a CPU computed in float32."""
  if target_platform() != "cpu":
    return jax.nn.gelu(x, approximate=False)
  return _gelu(x.astype(jnp.float32)).astype(x.dtype)


@jax.custom_jvp
def _gelu(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """The result alone."""
  return x * _phi(x)


@_gelu.defjvp
def _gelu_jvp(
  primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
  """The result and its slope, in one pass."""
  (x,), (dx,) = primals, tangents
  phi = _phi(x)
  density = jnp.exp(-0.5 * jnp.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
  y, slope = jax.lax.optimization_barrier((x * phi, phi + x * density))
  return y, slope * dx


def _phi(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """The normal distribution's function."""
  return 0.5 + 0.5 * jax.lax.erf(x * math.sqrt(0.5))
