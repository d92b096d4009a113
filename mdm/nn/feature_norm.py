"""Normalisation of speech features: by the corpus, by the utterance, or not at all.

  y = (x - mean) / sqrt(variance + epsilon)

over valid frames only; padding becomes 0. The moments of the corpus are those of all
valid frames that training has seen so far, the batch at hand included, which is why
they serve from the first step on. A batch of n frames joins N earlier ones exactly,

  mean' = mean + d n / (N + n),   M' = M + m + d^2 N n / (N + n),   d = mean_n - mean,

with M and m the sums of squared deviations from either mean. Sums run over the whole
array, under `jit` the global batch, so the moments depend on no number of devices.

Source: *Algorithms for Computing the Sample Variance: Analysis and Recommendations*,
Chan, Golub and LeVeque, 1983, equation 2.1.
Differences: the usual pass over the corpus before training is left out; instead the
moments stay put after `settle` frames, so that targets made of features do, too.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from mdm.nn.masked_norms import masked_moments

STATS = "feature_stats"
MODES = ("corpus", "utterance", "none")
AXES = ("bin", "all")
MOST = 2**30  # so that a count of 32 bits holds one more batch


class FeatureNorm(nn.Module):
  """Features of zero mean and unit variance; no parameters.

  In mode "corpus" the collection "feature_stats" holds `count` (frames seen), `mean`
  and `squares` (sum of squared deviations). With nothing seen, features stay as they
  are. Begin a run from another with `except: ["feature_stats/*"]` to count anew.

  Attributes:
    mode: "corpus", "utterance" (each row by its own frames) or "none".
    axis: "bin" has moments for each feature, "all" one pair for all of them.
    settle: frames after which the corpus's moments stay as they are; a million are 2.8
      hours of steps of 10 ms.
    epsilon: added to the variance.
  """

  mode: str = "corpus"
  axis: str = "bin"
  settle: int = 1_000_000
  epsilon: float = 1e-5

  @nn.compact
  def __call__(
    self, features: Float[Array, "b f c"], valid: Bool[Array, "b f"], *, train: bool
  ) -> Float32[Array, "b f c"]:
    """Normalised features, 0 where not valid; in training the moments learn first.

    Raises:
      ValueError: an unknown mode or axis, or `settle` outside 1 .. 2^30.
    """
    self._check()
    each = valid[:, :, None]
    x = jnp.where(each, features.astype(jnp.float32), 0.0)
    if self.mode == "none":
      return x
    if self.mode == "utterance":
      axes = (1,) if self.axis == "bin" else (1, 2)
      mean, variance, _ = masked_moments(x, each, axes)
    else:
      mean, variance = self._corpus_moments(x, valid, train)
    y = (x - mean) * jax.lax.rsqrt(variance + self.epsilon)
    return jnp.where(each, y, 0.0)

  def _corpus_moments(
    self, x: Float32[Array, "b f c"], valid: Bool[Array, "b f"], train: bool
  ) -> tuple[Float32[Array, "m"], Float32[Array, "m"]]:
    """Mean and variance of the frames seen so far, these included in training."""
    width = x.shape[2] if self.axis == "bin" else 1
    count = self.variable(STATS, "count", jnp.zeros, (), jnp.int32)
    mean = self.variable(STATS, "mean", jnp.zeros, (width,), jnp.float32)
    squares = self.variable(STATS, "squares", jnp.zeros, (width,), jnp.float32)
    learns = train and self.is_mutable_collection(STATS) and not self.is_initializing()
    if learns:
      old = count.value, mean.value, squares.value
      new = self._join(old, jax.lax.stop_gradient(x), valid)
      is_open = count.value < self.settle
      for variable, before, after in zip((count, mean, squares), old, new, strict=True):
        variable.value = jnp.where(is_open, after, before)
    values = self._values(count.value, x.shape[2])
    variance = squares.value / jnp.maximum(values, 1.0)
    return mean.value, jnp.where(count.value > 0, variance, 1.0)

  def _join(
    self,
    old: tuple[Int[Array, ""], Float32[Array, "m"], Float32[Array, "m"]],
    x: Float32[Array, "b f c"],
    valid: Bool[Array, "b f"],
  ) -> tuple[Int[Array, ""], Float32[Array, "m"], Float32[Array, "m"]]:
    """Count, mean and squared deviations of the frames seen and these."""
    count, mean, squares = old
    axes = (0, 1) if self.axis == "bin" else (0, 1, 2)
    parts = masked_moments(x, valid[:, :, None], axes)
    batch_mean, batch_variance, values = (part.reshape(-1) for part in parts)
    earlier = self._values(count, x.shape[2])
    share = values / jnp.maximum(earlier + values, 1.0)
    apart = batch_mean - mean
    squares = squares + values * batch_variance + apart**2 * earlier * share
    return count + valid.sum(dtype=jnp.int32), mean + apart * share, squares

  def _values(self, count: Int[Array, ""], width: int) -> Float32[Array, ""]:
    """Values behind each mean after so many frames."""
    return count.astype(jnp.float32) * (1 if self.axis == "bin" else width)

  def _check(self) -> None:
    """Raises ValueError for settings that mean nothing."""
    for name, value, known in (("mode", self.mode, MODES), ("axis", self.axis, AXES)):
      if value not in known:
        raise ValueError(
          f"{name} = {value!r} of FeatureNorm is unknown; write one of "
          f"{', '.join(known)}."
        )
    if not 1 <= self.settle <= MOST:
      raise ValueError(
        f"settle = {self.settle} frames of FeatureNorm lies outside 1 .. {MOST}."
      )
