"""Telling a network the time: an embedding of t, and norms whose scale it sets.

Source: *Scalable Diffusion Models with Transformers*, Peebles and Xie, 2023, section
3.2 (adaLN-Zero) and its public code.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.nn.layers import LayerNorm, Linear, RMSNorm

TIMES = ("none", "adaln")
NORMS = ("layer", "rms")
FREQUENCIES = 128


def time_features(t: Float[Array, "b"]) -> Float[Array, "b f"]:
  """Cosines and sines of 1000 t at 128 frequencies from 1 down to 1/10,000."""
  rates = jnp.exp(-math.log(10_000.0) * jnp.arange(FREQUENCIES) / FREQUENCIES)
  angles = 1000.0 * t.astype(jnp.float32)[:, None] * rates  # b f/2
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)  # b f


class TimeEmbed(nn.Module):
  """t in [0, 1] to a condition: its features through two linear maps; float32."""

  width: int

  @nn.compact
  def __call__(self, t: Float[Array, "b"]) -> Float[Array, "b e"]:
    """SiLU(W2 SiLU(W1 features)): ready for every `Modulation`."""
    init = nn.initializers.normal(0.02)
    up = Linear((self.width,), (None, "mlp"), kernel_init=init, name="up")
    out = Linear((self.width,), ("mlp", "embed"), kernel_init=init, name="out")
    return jax.nn.silu(out(jax.nn.silu(up(time_features(t)))))  # b e


class Modulation(nn.Module):
  """`parts` vectors of the condition, all zero at the start of training."""

  parts: int
  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, cond: Float[Array, "b e"]) -> Float[Array, "parts b 1 d"]:
    """Shifts, scales and gates, in the order of use."""
    linear = Linear(
      (self.parts, self.width),
      (None, None, "embed"),
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
      name="linear",
    )
    return jnp.moveaxis(linear(cond), 1, 0)[:, :, None]  # parts b 1 d


def modulate(
  x: Float[Array, "b n d"], shift: Float[Array, "b 1 d"], scale: Float[Array, "b 1 d"]
) -> Float[Array, "b n d"]:
  """Scales x by 1 + scale, then adds the shift."""
  return x * (1.0 + scale) + shift


def make_norm(
  kind: str, *, epsilon: float, is_modulated: bool, use_bias: bool, name: str
) -> nn.Module:
  """A norm "layer" or "rms"; one that is modulated has no scale and shift of its own.

  Raises:
    ValueError: an unknown kind.
  """
  check_choice("norm", kind, NORMS)
  if kind == "rms":
    return RMSNorm(epsilon, use_scale=not is_modulated, name=name)
  return LayerNorm(
    epsilon,
    use_scale=not is_modulated,
    use_bias=use_bias and not is_modulated,
    name=name,
  )
