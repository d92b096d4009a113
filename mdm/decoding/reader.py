"""What decoders share: a predictor with its token ids, and a decoded row.

A predictor is any function `(tokens [b n], t [b]) -> logits [b n v]`; t is the share of
the canvas that is still hidden, which readers of images ignore. MASK lies outside its
classes, so a predicted token is never MASK.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Predict = Callable[[jax.Array, jax.Array], jax.Array]


class Decoded(NamedTuple):
  """What a decoder read, and how it came to it.

  `valid` marks the positions up to the first EOS, that one included; a row without EOS
  is valid throughout. Elsewhere `tokens` is MASK and `confidence` 0. `probs` are those
  of the last pass in which a position was still hidden. `canvases[i]` is what stood on
  the canvas after pass i, undecided positions being MASK; a row that stopped early
  repeats its last canvas.
  """

  tokens: Int[Array, "b n"]
  confidence: Float[Array, "b n"]
  valid: Bool[Array, "b n"]
  probs: Float[Array, "b n v"]
  canvases: Int[Array, "s b n"]
  confidences: Float[Array, "s b n"]


@dataclasses.dataclass(frozen=True)
class Reader:
  """A predictor, the ids it needs to be decoded with, and the softmax's temperature."""

  predict: Predict
  mask_id: int
  eos_id: int = 0
  temperature: float | int = 1.0

  def read(self, canvas: Int[Array, "b n"]) -> Float[Array, "b n v"]:
    """Probabilities of every class at every position, in one pass."""
    t = (canvas == self.mask_id).mean(axis=-1, dtype=jnp.float32)
    logits = self.predict(canvas, t).astype(jnp.float32)
    return jax.nn.softmax(logits / self.temperature, axis=-1)

  def num_classes(self, canvas: Int[Array, "b n"]) -> int:
    """Size of the predictor's last axis, found without computing anything."""
    return jax.eval_shape(self.read, canvas).shape[-1]

  def up_to_eos(self, tokens: Int[Array, "b n"]) -> Bool[Array, "b n"]:
    """Positions before or at a row's first EOS; all of them where there is none."""
    is_eos = tokens == self.eos_id
    return (jnp.cumsum(is_eos, axis=-1) - is_eos) == 0

  def finish(
    self,
    probs: Float[Array, "b n v"],
    canvases: Int[Array, "s b n"],
    confidences: Float[Array, "s b n"],
  ) -> Decoded:
    """Takes the likeliest classes and cuts each row after its first EOS."""
    tokens = jnp.argmax(probs, axis=-1)
    valid = self.up_to_eos(tokens)
    return Decoded(
      tokens=jnp.where(valid, tokens, self.mask_id),
      confidence=jnp.where(valid, probs.max(axis=-1), 0.0),
      valid=valid,
      probs=probs,
      canvases=canvases,
      confidences=confidences,
    )
