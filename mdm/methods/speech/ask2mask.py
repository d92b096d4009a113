"""Ask2Mask (ATM): w2v-BERT that hides what another recogniser is sure of.

  s_t = max_v p(v | frame t),  starts of spans drawn by s without replacement
  ATM+S: losses of a clip times the mean of its s

Source: *Guided Data Selection for Masked Speech Modeling*, 2022, section 3. No code was
released.
Differences: spans are drawn until the wanted share is hidden (`guide_rule="exact"`);
"count" is nearer to the paper, which does not tell what it does about overlaps.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm.masks.guided_spans import (
  mask_guided_spans,
  start_divergence,
  utterance_confidence,
)
from mdm.methods.base import Mean, mean_of
from mdm.methods.speech.base import Batch
from mdm.methods.speech.masked import Heard
from mdm.methods.speech.w2v_bert import W2vBert

SCORER = "scorer"


class Given(nn.Module):
  """Confidences that came with the data, one of each frame of 40 ms."""

  def confidence(self, batch: Batch, **settings: object) -> Float[Array, "b t"]:
    """Entry `confidence` of the batch.

    Raises:
      ValueError: there is none.
    """
    del settings
    if "confidence" not in batch:
      raise ValueError(
        "the batch has no 'confidence'; give data that has one, or a recogniser as "
        "model.scorer."
      )
    return jnp.asarray(batch["confidence"])


class Ask2Mask(W2vBert, kw_only=True):
  """w2v-BERT with guided masks.

  Parameters: those of `W2vBert` and of `scorer`, which does not learn: begin it from a
  run by `init`, with parts {"scorer": ""}.

  Attributes:
    scorer: what is asked: `Given`, or a recogniser as `methods.speech.ctc.Ctc`. It
      hears clips as they are.
    mask_ratio: share of a clip to hide.
    guided: whether masks are guided at all; without, only clips may be scaled.
    guide_rule, select, prefer, guide_temperature: see `mask_guided_spans`.
    exclude_blank: whether s is of tokens alone; CTC is surest of blank, in silence.
    scales_clips: ATM+S.
  """

  scorer: nn.Module
  mask_ratio: float = 0.4
  guided: bool = True
  guide_rule: str = "exact"
  select: str = "sample"
  prefer: str = "high"
  guide_temperature: float = 1.0
  exclude_blank: bool = False
  scales_clips: bool = False

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """What `W2vBert` tells, and `guide/...` of the scorer's confidences."""
    return super().__call__({**batch, "confidence": self.ask(batch)}, train=train)

  def name_hidden(self, batch: Batch, heard: Heard) -> dict[str, Mean]:
    """Also `guide/clip`, the mean confidence of a clip, and `guide/divergence`.

    That is how far the first start is from being uniform, in nats: near 0 the guidance
    does nothing. `guide/hidden` and `guide/seen` are means of confidences over frames.
    """
    named = super().name_hidden(batch, heard)
    s, weight = jnp.asarray(batch["confidence"]), self.weight(batch)
    frames = heard.valid.sum(1)
    apart = start_divergence(
      s, frames, prefer=self.prefer, temperature=self.guide_temperature
    )
    seen = heard.valid & ~heard.mask
    return named | {
      "guide/clip": mean_of(utterance_confidence(s, frames), weight),
      "guide/divergence": mean_of(apart, weight),
      "guide/hidden": mean_of(s, heard.mask * weight[:, None]),
      "guide/seen": mean_of(s, seen * weight[:, None]),
    }

  def ask(self, batch: Batch) -> Float[Array, "b t"]:
    """Confidences of the scorer, without gradient."""
    found = self.scorer.confidence(batch, exclude_blank=self.exclude_blank)
    return jax.lax.stop_gradient(found)

  def draw_mask(self, batch: Batch, valid: Bool[Array, "b t"]) -> Bool[Array, "b t"]:
    """Spans by confidence.

    Raises:
      ValueError: the scorer has another number of frames than the encoder.
    """
    if not self.guided:
      return super().draw_mask(batch, valid)
    s = jnp.asarray(batch["confidence"])
    if s.shape != valid.shape:
      raise ValueError(
        f"the scorer has {s.shape[1]} frames where the encoder has {valid.shape[1]}; "
        "give both the same subsampling."
      )
    return mask_guided_spans(
      self.keys(batch, "mask"),
      s,
      valid.sum(1),
      ratio=self.mask_ratio,
      span=self.span,
      rule=self.guide_rule,
      select=self.select,
      prefer=self.prefer,
      temperature=self.guide_temperature,
      least=self.least_spans,
    )

  def scale(self, batch: Batch, valid: Bool[Array, "b t"]) -> Float[Array, "b t"]:
    """The mean confidence of each clip, with `scales_clips`."""
    if not self.scales_clips:
      return super().scale(batch, valid)
    clip = utterance_confidence(jnp.asarray(batch["confidence"]), valid.sum(1))
    return jnp.broadcast_to(clip[:, None], valid.shape)

  def trainable(self, path: str) -> bool:
    """All parameters but the scorer's."""
    return not path.startswith(f"{SCORER}/") and super().trainable(path)
