"""Sampling by name: one predictor, one canvas, any of the samplers of settings.py."""

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from mdm.decoding.ancestral import sample_ancestral
from mdm.decoding.corrector import sample_flow_corrector, sample_forward_backward
from mdm.decoding.first_hitting import sample_first_hitting
from mdm.decoding.guidance import guide
from mdm.decoding.low_confidence import sample_low_confidence
from mdm.decoding.passes import Sampled, Task
from mdm.decoding.reader import Predict
from mdm.decoding.remask import sample_remdm
from mdm.decoding.settings import SAMPLERS, SamplerSettings, check_sampling
from mdm.masks.schedule import MaskSchedule

__all__ = ["SAMPLERS", "Sampled", "SamplerSettings", "check_sampling", "sample"]


def sample(
  predict: Predict,
  canvas: Int[Array, "b n"],
  keys: Key[Array, "b"],
  sampler: str = "ancestral",
  *,
  mask_id: int,
  schedule: MaskSchedule = MaskSchedule(),  # noqa: B008  a tuple of numbers
  settings: SamplerSettings = SamplerSettings(),  # noqa: B008  frozen
  valid: Bool[Array, "b n"] | None = None,
  prompt: Bool[Array, "b n"] | None = None,
) -> Sampled:
  """Fills the hidden positions of a canvas with tokens drawn from a predictor.

  It can be jitted, and compiles to one loop whatever the number of passes. Call
  `check_sampling` with the lengths first where the canvas is not known yet.

  Args:
    predict: from tokens [b n] and each row's time [b] to logits [b n v]; MASK lies
      outside its classes.
    canvas: `mask_id` where a token is to be drawn; all others are given, wherever they
      are, and never change.
    keys: one per row; a row's sample depends on its own key and canvas alone.
    sampler: one of `SAMPLERS`.
    mask_id: the id of a hidden position.
    schedule: how much is visible at a time, as the predictor was trained.
    settings: of the sampler.
    valid: real positions; padding is neither revealed nor counted.
    prompt: the positions that guidance leaves out in its second call.

  Raises:
    ValueError: for settings that `check_sampling` refuses, and guidance without a
      prompt.
  """
  free = canvas == mask_id
  free = free if valid is None else free & valid
  check_sampling(sampler, settings)
  if not isinstance(free, jax.core.Tracer) and free.any():
    length = free.shape[1]
    given = length - int(np.asarray(free).sum(axis=-1).max())
    check_sampling(sampler, settings, length=length, prompt_length=given)
  if settings.guidance > 0:
    if prompt is None:
      raise ValueError(
        f"guidance = {settings.guidance} needs a prompt to leave out; say which "
        f"positions are the prompt, or set guidance to 0."
      )
    predict = guide(predict, prompt, mask_id=mask_id, scale=settings.guidance)
  task = Task(predict, canvas, free, keys, mask_id, schedule, settings)
  if sampler == "ancestral":
    return sample_ancestral(task)
  if sampler == "first_hitting":
    return sample_first_hitting(task)
  if sampler == "low_confidence":
    return sample_low_confidence(task)
  if sampler == "forward_backward":
    return sample_forward_backward(task)
  if sampler == "flow_corrector":
    return sample_flow_corrector(task)
  return sample_remdm(task, sampler)
