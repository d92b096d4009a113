"""w2v-BERT: codes learned by contrast, and named where speech is hidden, in one run.

  c = first(masked z),  h = second(c),  (q, y) = quantiser(z)
  L = beta (L_w + alpha L_d) + gamma L_m
  L_w: tell W_q q_t by W_c c_t from targets of other hidden frames (`nn.contrast`)
  L_d: 1 - exp(H(mean code distribution)) / V
  L_m: name y_t, given h_t

L_w and L_m are means over hidden frames; L_d is of the whole batch, its frames weighed
alike. The quantiser sees what the encoder does not, and learns from L_w and L_d alone.

Source: *w2v-BERT: Combining Contrastive Learning and Masked Language Modeling for
Self-Supervised Speech Pre-Training*, 2021, section 3; what it takes from *wav2vec 2.0*,
2020, as in fairseq. No code was released; fairseq2 has a later variant.
Differences:
  - L_d is 0 for even use as in fairseq's code and in w2v-BERT's figure 2, not as in
    wav2vec 2.0's text.
  - the noise in place of hidden frames is that of the same group's BEST-RQ, N(0, 0.01);
    the paper does not tell its own.
  - with accumulated gradients L_d is of a micro-batch.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.masks.negatives import draw_negatives
from mdm.methods.base import Mean, mean_of
from mdm.methods.speech.base import Batch
from mdm.methods.speech.masked import COLLAPSED, Codes, Heard, MaskedSpeech, spread
from mdm.nn.contrast import contrast, same_codes
from mdm.nn.layers import Linear
from mdm.nn.patches import take_tokens
from mdm.nn.quantizer import Quantized, diversity_loss, gumbel_temperature


class Pass(NamedTuple):
  """One look at a batch: what is heard, and the parts that L_w and L_d need."""

  heard: Heard
  context: Float[Array, "b t c"]
  quantized: Quantized


class W2vBert(MaskedSpeech, kw_only=True):
  """Pretrains an encoder on speech without transcripts.

  Parameters: those of `subsample`, `encoder`, `quantizer`, and `context`, `target`,
  `head`. To fine-tune: another method's `init` with parts subsample, encoder and
  feature_norm from this run.

  Attributes:
    encoder: an encoder in two parts, as `nn.tandem.Tandem`.
    negatives: K, drawn for each hidden frame from the others of its clip.
    budget: places for hidden frames over frames, see `masks.negatives`.
    kappa: what cosines are divided by.
    contrast_width: of the vectors that are compared.
    beta, alpha, gamma: weights of the contrast, of the diversity in it, of the naming.
    telling: weight of L_w itself; 0 leaves L_d and L_m, which collapse.
    target_grad: what the gradient from the quantiser to its frames is multiplied by; at
      1 frames learn to be foretold, at 0 they learn from what foretells them alone
      (fairseq2's `quantizer_encoder_grad`).
    temperature: of the quantiser: at the first step, at least, and its factor per step.
  """

  REMEDY: ClassVar[str] = (
    "raise method.alpha, lower optimizer.learning_rate or begin with another seed"
  )

  negatives: int = 100
  budget: float = 0.6
  kappa: float = 0.1
  contrast_width: int = 768
  beta: float = 1.0
  alpha: float = 0.1
  gamma: float = 1.0
  telling: float = 1.0
  target_grad: float = 1.0
  temperature: tuple[float, float, float] = (2.0, 0.1, 0.999995)

  def setup(self) -> None:
    """What names codes, and maps to vectors that are compared."""
    super().setup()
    self.context = Linear((self.contrast_width,), ("embed", None))
    self.target = Linear((self.contrast_width,), ("embed", None))

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss`, its parts, and what tells learning from collapse.

    `contrast/others` counts negatives that differ from their target: where it and
    `codes/perplexity` fall towards 0 and 1, losses near 0 mean that all is one code.
    """
    seen = self.look(batch, train=train)
    hidden = seen.heard.mask * self.weight(batch)[:, None]  # b t
    diversity = diversity_loss(seen.quantized.soft, hidden)
    told = self.tell_apart(batch, seen)
    named = self.name_hidden(batch, seen.heard)
    telling = self.telling * told["contrast/nats"].value()
    learning = self.beta * (telling + self.alpha * diversity)
    loss = learning + self.gamma * named["naming/nats"].value()
    return {
      "loss": spread(loss, hidden),
      "diversity": spread(diversity, hidden),
      **told,
      **named,
    }

  def look(self, batch: Batch, *, train: bool) -> Pass:
    """Hides, encodes, and quantises what is not hidden from the quantiser."""
    z, valid = self.prepare(batch, train=train)
    mask = self.draw_mask(batch, valid)
    context, encoded = self.encoder.both(self.hide(batch, z, mask), valid, train=train)
    quantized = self.quantize(batch, z, train=train)
    logits = self.head(encoded.astype(jnp.float32))  # b t g v
    return Pass(Heard(valid, mask, quantized.ids, logits), context, quantized)

  def quantize(
    self, batch: Batch, z: Float[Array, "b t d"], *, train: bool
  ) -> Quantized:
    """Codes of frames: drawn at the temperature of the step in training."""
    if self.target_grad != 1:
      still = jax.lax.stop_gradient(z)
      z = still + self.target_grad * (z - still)
    if not train:
      return self.quantizer(z, train=False)
    start, end, decay = self.temperature
    heat = gumbel_temperature(
      jnp.asarray(batch.get("step", 0)), start=start, end=end, decay=decay
    )
    return self.quantizer(z, heat, train=True, keys=self.keys(batch, "noise"))

  def tell_apart(self, batch: Batch, seen: Pass) -> dict[str, Mean]:
    """`contrast/...`: nats, accuracy and negatives that count, per hidden frame."""
    valid, mask = seen.heard.valid, seen.heard.mask
    drawn = draw_negatives(
      self.keys(batch, "mask"), mask, self.negatives, budget=self.budget
    )
    ours, theirs = (
      take_tokens(compared(x.astype(jnp.float32)), drawn.anchors)
      for compared, x in (
        (self.context, seen.context),
        (self.target, seen.quantized.vectors),
      )
    )  # b m d
    ids = jnp.take_along_axis(seen.quantized.ids, drawn.anchors[..., None], axis=1)
    found = contrast(ours, theirs, drawn.index, same_codes(ids), temperature=self.kappa)
    scale = jnp.take_along_axis(self.scale(batch, valid), drawn.anchors, axis=1)
    weight = drawn.weight * self.weight(batch)[:, None]
    return {
      "contrast/nats": mean_of(found.nats * scale, weight),
      "contrast/accuracy": mean_of(found.correct.astype(jnp.float32), weight),
      "contrast/others": mean_of(found.others.astype(jnp.float32), weight),
    }

  def alarm(self, metrics: Mapping[str, float]) -> str | None:
    """Also where hardly a negative differs from its target: L_w is near 0 for nothing.

    Batches in which fewer than ten codes could be tell nothing.
    """
    told = super().alarm(metrics)
    others = metrics.get("contrast/others", math.inf)
    is_small = metrics.get("codes/possible", 0.0) < 1 / COLLAPSED
    if told or is_small or others >= COLLAPSED * self.negatives:
      return told
    return (
      f"contrast/others = {others:.1f} of {self.negatives} negatives differ from their "
      f"target: codes collapse, and contrast/nats near 0 tells nothing; {self.REMEDY}."
    )

  def codes(self, batch: Batch) -> Codes:
    """Likeliest codes of each frame, without noise."""
    z, valid = self.prepare(batch, train=False)
    return Codes(self.quantizer(z, train=False).ids, valid)
