"""MD4: simplified masked diffusion, in continuous time or in T steps.

Source: Simplified and Generalized Masked Diffusion for Discrete Data, Shi et al., 2024,
sections 3 and 4; constants follow the released code (github google-deepmind/md4).
Differences:
  - the T-step weight is written T (alpha_s - alpha_t) / (1 - alpha_t); the released
    code has the same as T expm1(g_t - g_s) alpha_s with g = log(alpha / (1 - alpha)).
  - continuous time is the default: the released configs set it, the code does not.
  - times are one systematic grid over the whole step, not one per device.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from mdm.masks.corruption import Corrupted
from mdm.masks.schedule import MaskSchedule, make_schedule
from mdm.methods.base import Mean
from mdm.methods.diffusion.mask_diffusion import MaskDiffusion, Rows


class MD4(MaskDiffusion):
  """Mask diffusion whose loss is its whole bound, in bits per token.

  alpha runs from 1 - epsilon to epsilon, so that no weight is infinite; reading the
  tokens hidden at time 0 then costs epsilon log V each, under any network of zeros.

  Attributes:
    epsilon: share of tokens hidden at t = 0 and visible at t = 1.
    timesteps: T; 0 for continuous time.
  """

  epsilon: float | int = 1e-4
  timesteps: int = 0

  def mask_schedule(self) -> MaskSchedule:
    """(1 - 2 epsilon) alpha(t) + epsilon."""
    return make_schedule(
      self.schedule, power=self.power, low=self.epsilon, high=1.0 - self.epsilon
    )

  def setup(self) -> None:
    """Checks the settings."""
    super().setup()
    if self.timesteps < 0:
      raise ValueError(
        f"method.timesteps = {self.timesteps} is below 0; 0 means continuous time."
      )
    if self.timesteps and self.masking == "count":
      raise ValueError(
        "method.masking = 'count' draws how many tokens to hide, not a time step; set "
        "method.timesteps = 0."
      )

  def draw_times(
    self, key: Key[Array, ""], place: Int[Array, "b"], total: Int[Array, ""] | int
  ) -> Float[Array, "b"]:
    """Times in [0, 1), or the steps 1/T .. 1 that they lie in."""
    t = super().draw_times(key, place, total)
    if not self.timesteps:
      return t
    return (jnp.floor(t * self.timesteps) + 1.0) / self.timesteps

  def weight_at(self, t: Float[Array, "b"]) -> Float[Array, "b"]:
    """-alpha' / (1 - alpha), or its T-step version between s = t - 1/T and t."""
    if not self.timesteps:
      return super().weight_at(t)
    return self.mask_schedule().discrete_weight(t, self.timesteps)

  def rest(self, rows: Rows) -> Float[Array, "b"]:
    """Reconstruction: (1 - alpha(0)) log V for every token; none for counted masks."""
    hidden = 0.0 if self.masking == "count" else self.epsilon
    return rows.can_hide.sum(axis=-1) * hidden * np.log(self.vocab_size)

  def losses(
    self,
    rows: Rows,
    t: Float[Array, "b"],
    noised: Corrupted,
    logits: Float[Array, "br n v"],
  ) -> dict[str, Mean]:
    """As every mask diffusion's; `loss` is in bits per token, as published."""
    means = super().losses(rows, t, noised, logits)
    return means | {"loss": means["bits/token"]}
