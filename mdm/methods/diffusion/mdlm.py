"""MDLM: masked diffusion language models, the mean of 1/t-weighted cross-entropies.

Source: Simple and Effective Masked Diffusion Language Models, Sahoo et al., 2024,
equations 10 and 11, log-linear schedule; constants follow the released code (github
kuleshov-group/mdlm).
Differences:
  - the weight of the log-linear schedule, sigma' / expm1(sigma), is exactly 1/t and is
    computed so; the released code goes through sigma and loses digits.
  - times are stratified over the whole step, not over each device's rows.
"""

from mdm.masks.schedule import MaskSchedule, make_schedule
from mdm.methods.diffusion.mask_diffusion import MaskDiffusion


class MDLM(MaskDiffusion):
  """Mask diffusion whose loss is the mean, over real tokens, of its bound in nats.

  Substitution (the paper's SUBS): MASK has no score and visible tokens are copied, so
  only hidden tokens have a loss. With epsilon and first_time 0 this is MD4 with epsilon
  0, up to the unit.

  Attributes:
    epsilon: share of tokens still visible at t = 1.
    first_time: times are drawn between this and 1.
  """

  times: str = "stratified"
  epsilon: float | int = 1e-3
  first_time: float | int = 1e-3

  def mask_schedule(self) -> MaskSchedule:
    """1 - (1 - epsilon) t for the linear schedule; its weight is 1/t."""
    return make_schedule(self.schedule, power=self.power, low=self.epsilon)

  def earliest(self) -> float:
    """Times are drawn from [first_time, 1)."""
    return self.first_time
