"""MDiff4STR with a CTC classifier on the encoder, for small budgets.

The decoder of a mask-diffusion reader must find out by itself that query i belongs to
the i-th letter, which from a fully hidden canvas takes most of a small budget. Here a
linear CTC classifier spells the word along the encoder's tokens, which must lie in
reading order. It helps twice. Its loss, whose weight falls linearly to 0, aligns
columns and letters early. And what it spells numbers the letters: a column's expected
letter index is turned into the sinusoid that the canvas uses for that position and
added to the column, so that query i can look it up.

Source: Joint CTC-Attention based End-to-End Speech Recognition using Multi-task
Learning, Kim, Hori and Watanabe, 2017, equation 9 (a constant weight there);
Connectionist Temporal Classification, Graves et al., 2006. The letter index is ours.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from mdm.methods.base import Mean, mean_of
from mdm.methods.diffusion.mdiff4str import EOS, Batch, MDiff4STR
from mdm.nn.layers import Linear
from mdm.nn.positions import sinusoids


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
    memory, scores = self.encode_and_spell(batch, train=train)
    means = self.losses(batch, memory, self.corrupt(batch), train=train)
    nats = ctc_nats(scores, jnp.asarray(batch["tokens"]), jnp.asarray(batch["valid"]))
    weight = jnp.asarray(batch.get("weight", jnp.ones(len(nats))))
    return means | {"loss/ctc": mean_of(nats * self._ctc_weight_at(batch), weight)}

  def encode(self, batch: Batch, *, train: bool = False) -> Float[Array, "b m e"]:
    """Encodes images to columns that carry the index of their letter."""
    return self.encode_and_spell(batch, train=train)[0]

  def encode_and_spell(
    self, batch: Batch, *, train: bool
  ) -> tuple[Float[Array, "b m e"], Float[Array, "b m v"]]:
    """`(memory, scores)`: columns for the decoder, and CTC's scores of each."""
    columns = super().encode(batch, train=train)
    scores = self.spell(columns.astype(jnp.float32))  # b m v
    places = place_letters(jax.lax.stop_gradient(scores), self.canvas)  # b m n
    memory = columns + places @ sinusoids(self.canvas, columns.shape[-1])  # b m e
    return memory.astype(columns.dtype), scores

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


def place_letters(scores: Float[Array, "b m v"], length: int) -> Float[Array, "b m n"]:
  """How much each column belongs to each position of the canvas.

  A letter begins where its class appears: in column m the expected number of begun
  letters is sum_c p_c(m) (1 - p_c(m - 1)), and its running sum less one is the column's
  letter index, shared between the two whole positions beside it.

  Args:
    scores: unnormalised class scores of columns in reading order; class 0 is blank.
    length: positions n.
  """
  letters = jax.nn.softmax(scores, axis=-1)[..., 1:]  # b m c
  before = jnp.pad(letters, ((0, 0), (1, 0), (0, 0)))[:, :-1]  # b m c
  begun = (letters * (1.0 - before)).sum(-1)  # b m
  index = jnp.cumsum(begun, axis=-1) - 1.0  # b m
  return jax.nn.relu(1.0 - jnp.abs(index[..., None] - jnp.arange(length)))  # b m n
