"""A recogniser that hears and remembers what it said: the transducer, or RNN-T.

  p(. | t, u) = softmax(joint(encoder(x)_t, prediction(y_1 .. y_u)))
  nats        = -log sum over all ways to interleave frames and tokens

Source: *Sequence Transduction with Recurrent Neural Networks*, Graves, 2012. As they
fine-tune w2v-BERT (w2v-BERT, 2021, section 4.2): two LSTM layers of 640, and
`project` = 640 puts a linear map with Swish and batch norm behind the encoder.
Differences: one learning rate for encoder and decoder, theirs have a schedule each.
"""

from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from mdm.decoding import transducer as decoding
from mdm.decoding.prefixes import Bonus, Transcript, best_of
from mdm.masks.choices import check_choice
from mdm.methods.base import Mean
from mdm.methods.speech.base import DECODERS, Batch, Recogniser
from mdm.nn.layers import Linear
from mdm.nn.masked_norms import MaskedBatchNorm
from mdm.nn.transducer import transducer_loss


class Transducer(Recogniser, kw_only=True):
  """Transcribes with any number of tokens a frame.

  Parameters: those of `subsample`, `encoder`, `prediction`, `joint` and, with
  `project`, `map` and `map_norm`. Streams: `augment`, `noise`, `dropout`.

  Attributes:
    prediction: tokens to outputs after each, as `nn.lstm.Prediction`.
    joint: outputs of both to log-probabilities, as `nn.joint.Joint`.
    project: width of the map behind the encoder; 0 for none.
    most: most tokens that are said in one frame.
    length: most tokens of a transcript that is read; 0 for twice the frames.
  """

  prediction: nn.Module
  joint: nn.Module
  project: int = 0
  most: int = 10
  length: int = 0

  @property
  def vocab_size(self) -> int:
    """Tokens of transcripts; blank is one class more, the last.

    Raises:
      ValueError: prediction and joint network do not agree.
    """
    sizes = [getattr(part, "vocab_size", 0) for part in (self.prediction, self.joint)]
    if sizes[0] != sizes[1]:
      raise ValueError(
        f"model.prediction.vocab_size = {sizes[0]} and model.joint.vocab_size = "
        f"{sizes[1]}; set both to the number of tokens."
      )
    return sizes[0]

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats per token, frame or clip of those that have a frame."""
    encoded, frames = self.listen(batch, train=train)
    valid = jnp.asarray(batch["valid"])
    tokens = jnp.where(valid, jnp.asarray(batch["tokens"]), self.vocab_size)
    predicted = self.prediction(tokens, train=train)  # b u e
    blank, token = self.joint(encoded, predicted, tokens)  # b t u, b t n
    found = transducer_loss(blank, token, frames, valid)
    return self.losses(batch, frames, nats=found.nats, feasible=found.feasible)

  @nn.compact
  def listen(
    self, batch: Batch, *, train: bool
  ) -> tuple[Float[Array, "b t e"], Bool[Array, "b t"]]:
    """What the joint network gets of each frame, and which frames are valid."""
    encoded, frames = self.hear(batch, train=train)
    if not self.project:
      return encoded, frames
    x = nn.silu(Linear((self.project,), ("embed", "mlp"), name="map")(encoded))
    return MaskedBatchNorm(name="map_norm")(x, frames, train=train), frames

  def transcribe(
    self,
    batch: Batch,
    *,
    decoder: str = "greedy",
    beam: int = 8,
    bonus: Bonus | None = None,
  ) -> Transcript:
    """What was said; the greedy reader tells the frame of each token, the beam not.

    Args:
      decoder: "greedy", or "beam", the likeliest text that a search finds.
      beam: texts that it keeps.
      bonus: what a language model adds to the search, see `decoding.ngrams`.

    Raises:
      ValueError: an unknown decoder.
    """
    check_choice("decoder", decoder, DECODERS)
    encoded, frames = self.listen(batch, train=False)
    length = self.length or 2 * frames.shape[1]
    network, blank = self.network(), self.vocab_size
    if decoder == "beam":
      found = decoding.decode_beam(
        network,
        encoded,
        frames,
        length=length,
        beam=beam,
        blank=blank,
        bonus=bonus,
      )
      return best_of(found)
    return decoding.decode_greedy(
      network, encoded, frames, length=length, most=self.most, blank=blank
    )

  @nn.nowrap
  def network(self) -> decoding.Network:
    """Prediction and joint network as decoders ask them."""
    prediction, said = self.prediction.unbind()
    joint, heard = self.joint.unbind()

    def step(token: jax.Array, state: decoding.PyTree) -> tuple:
      """A token more."""
      return prediction.apply(said, token, state, method="step")

    def score(encoded: jax.Array, predicted: jax.Array) -> jax.Array:
      """All classes in some cells."""
      return cast(jax.Array, joint.apply(heard, encoded, predicted, method="score"))

    return decoding.Network(prediction.start, step, score)
