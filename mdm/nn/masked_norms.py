"""Batch and group norm whose moments are of valid frames only.

  mean = sum(valid x) / n,   variance = sum(valid (x - mean)^2) / n,   n = sum(valid)

Sums and counts run over the whole array before they are divided: under `jit` that is
the global batch, however unevenly its padding lies on devices. Where nothing is valid,
moments are 0 and the running ones stay as they are.

Source: *Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift*, 2015, algorithm 1; *Group Normalization*, 2018, section 3.1.
Differences: the running variance is the plain one of a batch, not times n / (n - 1).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from mdm.nn.layers import named


def zero_padding(
  x: Shaped[Array, "b n *dims"], valid: Bool[Array, "b n"]
) -> Shaped[Array, "b n *dims"]:
  """Frames that are not valid become 0, NaN or not; no gradient goes to them."""
  return jnp.where(valid.reshape(*valid.shape, *(1,) * (x.ndim - 2)), x, 0)


def masked_moments(
  x: Float[Array, "*dims"], valid: Bool[Array, "*dims2"], axes: tuple[int, ...]
) -> tuple[Float[Array, "*out"], Float[Array, "*out"], Float[Array, "*out2"]]:
  """Mean, variance and number of the valid values along `axes`, which stay as 1.

  Computed in float32 in two passes: the variance is a mean of squared deviations.
  `valid` broadcasts to `x`, with as many axes.
  """
  x = jnp.where(valid, x.astype(jnp.float32), 0.0)
  every = jnp.broadcast_to(valid, x.shape)
  count = every.sum(axes, keepdims=True, dtype=jnp.float32)
  share = 1.0 / jnp.maximum(count, 1.0)
  mean = x.sum(axes, keepdims=True) * share
  deviation = jnp.where(valid, x - mean, 0.0)
  return mean, jnp.square(deviation).sum(axes, keepdims=True) * share, count


class MaskedBatchNorm(nn.Module):
  """Batch norm over the valid frames of all examples; padding becomes 0.

  Parameters: `scale`, `bias`; in the collection `batch_stats` the running `mean` and
  `var`. Begin a run from another with `except: ["batch_stats/*"]` where its inputs were
  of another kind, such as noise in place of hidden frames: they are estimated anew.

  Attributes:
    momentum: share of the running moments that stays at each step.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"], *, train: bool
  ) -> Float[Array, "b n d"]:
    """Zero mean and unit variance by this batch (`train`) or the running moments."""
    x, width = zero_padding(x, valid), x.shape[-1]
    means = self.variable("batch_stats", "mean", jnp.zeros, (width,), jnp.float32)
    variances = self.variable("batch_stats", "var", jnp.ones, (width,), jnp.float32)
    mean, variance = means.value, variances.value
    if train:
      moments = masked_moments(x, valid[..., None], (0, 1))
      mean, variance, count = (part.reshape(width) for part in moments)
      if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
        keep = jnp.where(count > 0, self.momentum, 1.0)
        means.value = keep * means.value + (1.0 - keep) * mean
        variances.value = keep * variances.value + (1.0 - keep) * variance
    y = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(variance + self.epsilon)
    return _finish(self, y, valid).astype(x.dtype)


class MaskedGroupNorm(nn.Module):
  """Group norm of each example by its own valid frames; padding becomes 0.

  Parameters: `scale`, `bias`.

  Attributes:
    groups: of neighbouring channels, each normalised as one.
  """

  groups: int = 32
  epsilon: float = 1e-5

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"]
  ) -> Float[Array, "b n d"]:
    """Zero mean and unit variance of each group of channels over valid frames.

    Raises:
      ValueError: the groups do not divide the width.
    """
    b, n, width = x.shape
    if self.groups < 1 or width % self.groups:
      raise ValueError(
        f"groups = {self.groups} do not divide width = {width}; choose a divisor."
      )
    parts = zero_padding(x, valid).astype(jnp.float32).reshape(b, n, self.groups, -1)
    mean, variance, _ = masked_moments(parts, valid[..., None, None], (1, 3))
    y = (parts - mean) * jax.lax.rsqrt(variance + self.epsilon)
    return _finish(self, y.reshape(x.shape), valid).astype(x.dtype)


def _finish(
  module: nn.Module, y: Float[Array, "b n d"], valid: Bool[Array, "b n"]
) -> Float[Array, "b n d"]:
  """A learned scale and shift, then zeros in padding."""
  shape = y.shape[-1:]
  y = y * module.param("scale", named(nn.initializers.ones, "embed"), shape)
  y = y + module.param("bias", named(nn.initializers.zeros, "embed"), shape)
  return zero_padding(y, valid)
