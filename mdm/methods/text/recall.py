"""Recall: predicts what is due at the places that ask for something.

  loss = mean over questions of -log p(answer | tokens up to its place)

Source: *Zoology: Measuring and Improving Recall in Efficient Language Models*, Arora et
al., 2023, section 4 (multi-query associative recall).
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdm.decoding.likelihood import token_nats
from mdm.methods.base import Mean, Method, mean_of

Batch = Mapping[str, jax.Array | np.ndarray]


class Recall(Method):
  """A causal network that answers questions of made-up sequences.

  Attributes:
    network: tokens [b n] and `places` [b q] to logits [b q v]; has `vocab_size`.
  """

  network: nn.Module

  @property
  def vocab_size(self) -> int:
    """V, the number of tokens that can be predicted."""
    return self.network.vocab_size

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats per question; "accuracy", the mean over rows of shares right."""
    logits, answers = self.logits(batch, train=train), jnp.asarray(batch["answers"])
    weight = jnp.asarray(batch.get("weight", np.ones(len(answers), np.float32)))
    each = jnp.broadcast_to(weight[:, None], answers.shape)  # b q
    is_right = logits.argmax(axis=-1) == answers  # b q
    return {
      "loss": mean_of(token_nats(logits, answers), each),
      "accuracy": mean_of(is_right.mean(axis=-1), weight),
    }

  def answer(self, batch: Batch) -> tuple[Bool[Array, "b q"], Bool[Array, "b q"]]:
    """Whether each answer is the right one, and where one was asked for: everywhere."""
    is_right = self.logits(batch).argmax(axis=-1) == jnp.asarray(batch["answers"])
    return is_right, jnp.ones_like(is_right)

  def logits(self, batch: Batch, *, train: bool = False) -> Float[Array, "b q v"]:
    """Scores of what is due at each place, given the tokens up to it."""
    tokens, places = (jnp.asarray(batch[name]) for name in ("tokens", "places"))
    return self.network(tokens, places=places, train=train)
