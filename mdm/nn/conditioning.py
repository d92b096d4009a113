"""Telling a network the time: an embedding of t, and norms whose scale it sets.

Source: *Scalable Diffusion Models with Transformers*, Peebles and Xie, 2023, section
3.2 (adaLN-Zero) and its public code; *Simplified and Generalized Masked Diffusion for
Discrete Data*, 2024, public code (the style "md4").
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.nn.layers import LayerNorm, Linear, RMSNorm, activation

TIMES = ("none", "adaln")
NORMS = ("layer", "rms")
STYLES = ("dit", "md4")
FREQUENCIES = 128


def time_features(
  t: Float[Array, "b"], frequencies: int = FREQUENCIES, *, has_last: bool = False
) -> Float[Array, "b f"]:
  """Cosines and sines of 1000 t at frequencies that fall from 1 towards 1/10,000.

  Args:
    t: times in [0, 1].
    frequencies: how many; half the features.
    has_last: whether 1/10,000 is among them.
  """
  steps = max(frequencies - has_last, 1)
  rates = jnp.exp(-math.log(10_000.0) * jnp.arange(frequencies) / steps)
  angles = 1000.0 * t.astype(jnp.float32)[:, None] * rates  # b f/2
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)  # b f


class TimeEmbed(nn.Module):
  """t in [0, 1] to a condition: its features through two linear maps; float32.

  Attributes:
    width: of the condition.
    style: "dit" has 128 frequencies and a hidden layer as wide as the condition; "md4"
      as many features as the condition and four times as many hidden units.
    last: the activation at the end.
  """

  width: int
  style: str = "dit"
  last: str = "silu"

  @nn.compact
  def __call__(self, t: Float[Array, "b"]) -> Float[Array, "b e"]:
    """last(W2 SiLU(W1 features)): ready for every `Modulation`.

    Raises:
      ValueError: an unknown style or activation.
    """
    check_choice("time_style", self.style, STYLES)
    if self.style == "md4":
      features = time_features(t, self.width // 2, has_last=True)
      hidden, init = 4 * self.width, nn.initializers.lecun_normal()
    else:
      features, hidden = time_features(t), self.width
      init = nn.initializers.normal(0.02)
    up = Linear((hidden,), ("embed", "mlp"), kernel_init=init, name="up")
    out = Linear((self.width,), ("mlp", "embed"), kernel_init=init, name="out")
    return activation(self.last)(out(jax.nn.silu(up(features))))  # b e


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
