"""MDiff4STR with an auxiliary CTC loss on the encoder, for small budgets.

The decoder of a mask-diffusion reader must find out by itself that query i belongs to
the i-th letter; from a fully hidden canvas that takes about 100,000 images. A linear
CTC classifier on the encoder's tokens, which must lie in reading order, aligns columns
and letters after a third of that. Its weight falls linearly to 0, and inference does
not use it.

Source: Joint CTC-Attention based End-to-End Speech Recognition using Multi-task
Learning, Kim, Hori and Watanabe, 2017, equation 9 (a constant weight there);
Connectionist Temporal Classification, Graves et al., 2006.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mdm.methods.base import Mean, mean_of
from mdm.methods.diffusion.mdiff4str import EOS, Batch, MDiff4STR
from mdm.nn.layers import Linear


class MDiff4STRCTC(MDiff4STR):
  """MDiff4STR whose encoder also spells the word, letter by letter, in its columns.

  Attributes:
    ctc_weight: weight of the CTC loss at the first step.
    ctc_steps: training step at which it has fallen to 0; 0 keeps it constant.
  """

  ctc_weight: float | int = 1.0
  ctc_steps: int = 0

  def setup(self) -> None:
    """Adds the classifier of columns; EOS serves as CTC's blank."""
    super().setup()
    self.spell = Linear((self.num_characters + 1,), ("embed", "vocab"))

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """The terms of MDiff4STR and `loss/ctc`, nats per real token."""
    memory = self.encode(batch, train=train)
    means = self.losses(batch, memory, self.corrupt(batch), train=train)
    scores = self.spell(memory.astype(jnp.float32))  # b m v
    nats = ctc_nats(scores, jnp.asarray(batch["tokens"]), jnp.asarray(batch["valid"]))
    weight = jnp.asarray(batch.get("weight", jnp.ones(len(nats))))
    return means | {"loss/ctc": mean_of(nats * self._ctc_weight_at(batch), weight)}

  def _ctc_weight_at(self, batch: Batch) -> Float[Array, ""]:
    weight = jnp.asarray(self.ctc_weight, jnp.float32)
    if self.ctc_steps == 0 or "step" not in batch:
      return weight
    return weight * jnp.maximum(0.0, 1.0 - batch["step"] / self.ctc_steps)


def ctc_nats(
  scores: Float[Array, "b m v"], tokens: Int[Array, "b n"], valid: Bool[Array, "b n"]
) -> Float[Array, "b"]:
  """CTC's negative log-likelihood of each word, divided by its number of real tokens.

  Args:
    scores: unnormalised class scores of columns in reading order; class 0 is blank.
    tokens: characters, then EOS.
    valid: characters and EOS.
  """
  is_letter = valid & (tokens != EOS)
  nats = optax.ctc_loss(
    scores,
    jnp.zeros(scores.shape[:2]),
    jnp.where(is_letter, tokens, 0),
    1.0 - is_letter.astype(jnp.float32),
    blank_id=EOS,
  )
  return nats / jnp.maximum(jax.lax.stop_gradient(valid.sum(-1)), 1)
