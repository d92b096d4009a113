"""LLaDA: a large language diffusion model, its pretraining and its fine-tuning.

Every token is hidden with probability p, p = (1 - e) t + e and t uniform on [0, 1]:

  pretraining   L = 1 / (B n)  sum over hidden tokens of CE / p
  fine-tuning   L = 1 / B      sum over answers' hidden tokens of CE / (p * n_answer)

Fine-tuning never hides the prompt. What fills an answer up, EOS in the paper, is
learned as part of it wherever the batch says it is real.

Source: Large Language Diffusion Models, Nie et al., 2025, equations 3 and 5 and
algorithms 1 and 2; the released guidelines for training (github ML-GSAI/LLaDA).
Differences:
  - times are spread evenly over the step's rows; `times="independent"` is as published.
  - one in a hundred rows is cut to a random length, where the paper cuts whole batches.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.decoding.passes import Sampled
from mdm.decoding.settings import SamplerSettings
from mdm.masks.schedule import MaskSchedule, make_schedule
from mdm.methods.diffusion.mask_diffusion import Batch, MaskDiffusion, Rows


class LLaDA(MaskDiffusion):
  """Mask diffusion without time, whose weight is one over the mask rate.

  A batch with `prompt` is fine-tuning: rows then count equally, whatever the length of
  their answers, also in "bits/token".

  Attributes:
    epsilon: the least mask rate, e above.
    short_share: share of pretraining rows cut to a length uniform over 1..n.
  """

  epsilon: float | int = 1e-3
  short_share: float | int = 0.01

  def mask_schedule(self) -> MaskSchedule:
    """1 - p = (1 - epsilon) alpha(t): linear unless another schedule is asked for."""
    return make_schedule(self.schedule, power=self.power, high=1.0 - self.epsilon)

  def weight_at(self, t: Float[Array, "b"]) -> Float[Array, "b"]:
    """1 / p for the linear schedule, equation 3."""
    return super().weight_at(t) / (1.0 - self.epsilon)

  def read(self, batch: Batch, *, train: bool) -> Rows:
    """Rows as everywhere; in fine-tuning each is weighed by 1 / its answer's length."""
    if "prompt" not in batch:
      return super().read(batch, train=train)
    rows = super().read(batch, train=False)  # answers are never cut
    length = rows.can_hide.sum(axis=-1)  # b
    return rows._replace(weight=rows.weight / jnp.maximum(length, 1))

  def sample(
    self,
    keys: Key[Array, "b"],
    canvas: Int[Array, "b n"],
    sampler: str = "low_confidence",
    settings: SamplerSettings = SamplerSettings(),  # noqa: B008  frozen
    *,
    valid: Bool[Array, "b n"] | None = None,
    prompt: Bool[Array, "b n"] | None = None,
  ) -> Sampled:
    """Fills a canvas, by default what is surest first; all that is given is prompt."""
    prompt = canvas != self.mask_id if prompt is None else prompt
    return super().sample(keys, canvas, sampler, settings, valid=valid, prompt=prompt)
