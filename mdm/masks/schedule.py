"""How much is hidden at time t: masking schedules, their slopes, weights and inverses.

At time t each token still stands with probability alpha(t), which falls from about 1 at
t = 0 (clean data) to about 0 at t = 1 (all hidden):

  linear      alpha = 1 - t                     weight = 1 / t
  polynomial  alpha = 1 - t^p                   weight = p / t
  cosine      alpha = 1 - cos(pi/2 (1 - t))     weight = pi/2 tan(pi/2 (1 - t))

and `low` and `high` squeeze it: low + (high - low) alpha. All is analytic and float32;
whatever is small near an end (alpha near t = 1, 1 - alpha near t = 0) is computed
directly, never as the difference of two large numbers.

Published corners, e small: MD4 low=e, high=1-e, e = 1e-4; MDLM low=e, high=1, e = 1e-3,
its weight being exactly 1/t; LLaDA low=0, high=1-e, e = 1e-3, mask rate (1-e) t + e.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, section 2
and its table of schedules; *Simple and Effective Masked Diffusion Language Models*,
2024; *Large Language Diffusion Models*, 2025.
Differences: MDLM's weight is not computed through sigma = -log alpha, which loses
digits in float32.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice

SCHEDULES = ("linear", "polynomial", "cosine")
# Below it a time or a mask rate counts as zero in a quotient: weights stay finite.
TINY = 1e-30

Time = Float[Array, "*dims"] | Float[np.ndarray, "*dims"] | float | int


class MaskSchedule(NamedTuple):
  """A masking schedule: plain numbers, hashable, the same on every device.

  Attributes:
    name: one of `SCHEDULES`.
    power: p of the polynomial.
    low: alpha at t = 1.
    high: alpha at t = 0.
  """

  name: str = "linear"
  power: float | int = 1.0
  low: float | int = 0.0
  high: float | int = 1.0

  def alpha(self, t: Time) -> Float[Array, "*dims"]:
    """Probability that a token is still visible at time t in [0, 1]."""
    t = _float32(t)
    base = 1.0 - self._base_rate(t)
    if self.name == "cosine":  # the same without cancellation
      late = 2.0 * jnp.square(jnp.sin(0.25 * math.pi * (1.0 - t)))
      base = jnp.where(t < 0.5, base, late)
    return self.low + (self.high - self.low) * base

  def rate(self, t: Time) -> Float[Array, "*dims"]:
    """Probability that a token is hidden at time t: 1 - alpha(t), exact near 0."""
    hidden = (self.high - self.low) * self._base_rate(_float32(t))
    return (1.0 - self.high) + hidden

  def slope(self, t: Time) -> Float[Array, "*dims"]:
    """Derivative of alpha by t, at most 0."""
    t, span = _float32(t), self.high - self.low
    if self.name == "cosine":
      return -0.5 * math.pi * span * jnp.sin(0.5 * math.pi * (1.0 - t))
    if self.name == "polynomial":
      t = jnp.maximum(t, TINY)
      return -self.power * span * jnp.power(t, self.power - 1.0)
    return jnp.full_like(t, -span)

  def weight(self, t: Time) -> Float[Array, "*dims"]:
    """Loss weight of a hidden token's nats: -alpha' / (1 - alpha), always finite.

    Source: Simplified and Generalized Masked Diffusion, 2024, equation 4.
    """
    t = _float32(t)
    if self.high < 1.0:
      return -self.slope(t) / self.rate(t)
    t = jnp.maximum(t, TINY)  # nothing is hidden there: any finite weight will do
    if self.name == "cosine":
      return 0.5 * math.pi * jnp.sin(0.5 * math.pi * (1.0 - t)) / self._base_rate(t)
    return self._power() / t

  def inverse(self, alpha: Time) -> Float[Array, "*dims"]:
    """The time t in [0, 1] at which a share `alpha` is still visible."""
    alpha, span = _float32(alpha), self.high - self.low
    hidden = jnp.clip((self.high - alpha) / span, 0.0, 1.0)
    if self.name != "cosine":
      return jnp.power(hidden, 1.0 / self._power())
    shown = jnp.clip((alpha - self.low) / span, 0.0, 1.0)
    early = 2.0 / math.pi * jnp.arcsin(hidden)  # ill-conditioned at t = 1
    late = 1.0 - 4.0 / math.pi * jnp.arcsin(jnp.sqrt(0.5 * shown))  # and this at 0
    return jnp.where(hidden < 0.5, early, late)

  def reveal(self, s: Time, t: Time) -> Float[Array, "*out"]:
    """Probability that a token hidden at t is visible at the earlier time s <= t.

    (alpha_s - alpha_t) / (1 - alpha_t); 0 where nothing is hidden.
    """
    s, t = _float32(s), _float32(t)
    drop = (self.high - self.low) * self._base_drop(s, t)
    return jnp.clip(drop / jnp.maximum(self.rate(t), TINY), 0.0, 1.0)

  def discrete_weight(self, t: Time, num_steps: int) -> Float[Array, "*dims"]:
    """`weight` for diffusion in T = num_steps steps: T times `reveal`.

    Here s = t - 1/T, and t lies in {1/T, 2/T, ..., 1}.

    Source: Simplified and Generalized Masked Diffusion, 2024, equation 3.
    """
    t = _float32(t)
    return num_steps * self.reveal(jnp.maximum(t - 1.0 / num_steps, 0.0), t)

  def _power(self) -> float:
    return float(self.power) if self.name == "polynomial" else 1.0

  def _base_rate(self, t: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Share hidden before `low` and `high` squeeze it; exact near t = 0."""
    if self.name == "cosine":
      return jnp.sin(0.5 * math.pi * t)  # cos(pi/2 (1 - t))
    return jnp.power(t, self.power) if self.name == "polynomial" else t

  def _base_drop(
    self, s: Float[Array, "*#dims"], t: Float[Array, "*#dims"]
  ) -> Float[Array, "*out"]:
    """_base_rate(t) - _base_rate(s), exact for close times at either end."""
    if self.name == "cosine":  # sin a - sin b = 2 cos((a + b)/2) sin((a - b)/2)
      cosine = jnp.sin(0.25 * math.pi * ((1.0 - s) + (1.0 - t)))
      return 2.0 * cosine * jnp.sin(0.25 * math.pi * (t - s))
    if self.name == "polynomial":  # t^p - s^p = t^p (1 - (s/t)^p)
      log_ratio = jnp.log1p(jnp.maximum((s - t) / jnp.maximum(t, TINY), -1.0))
      return -jnp.power(t, self.power) * jnp.expm1(self.power * log_ratio)
    return t - s


def make_schedule(
  name: str = "linear",
  *,
  power: float | int = 1.0,
  low: float | int = 0.0,
  high: float | int = 1.0,
) -> MaskSchedule:
  """A schedule from settings, checked.

  Raises:
    ValueError: an unknown name, a power that is not positive or that only a polynomial
      could use, or an end outside 0 <= low < high <= 1.
  """
  check_choice("schedule", name, SCHEDULES)
  if power <= 0:
    raise ValueError(f"schedule power = {power} must be above 0; 1 is linear.")
  if power != 1 and name != "polynomial":
    raise ValueError(
      f"schedule power = {power} has no meaning for {name!r}; use 'polynomial'."
    )
  if not 0 <= low < high <= 1:
    raise ValueError(
      f"schedule ends low = {low}, high = {high} must satisfy 0 <= low < high <= 1; "
      "leave them at 0 and 1."
    )
  return MaskSchedule(name, float(power), float(low), float(high))


def _float32(t: Time) -> Float[Array, "*dims"]:
  return jnp.asarray(t, jnp.float32)
