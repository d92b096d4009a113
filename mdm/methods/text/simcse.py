"""SimCSE: a sentence is its own paraphrase, under another dropout.

Each sentence is encoded twice; h_i and h_i' differ by dropout alone. The loss is the
cross-entropy of finding h_i' among the batch's (equation 1):

  -log exp(cos(h_i, h_i') / tau) / sum_j exp(cos(h_i, h_j') / tau)

Any encoder of sentences by pooling can be asked through its `encode`, such as one that
was trained otherwise and imported.

Source: *SimCSE: Simple Contrastive Learning of Sentence Embeddings*, Gao et al., 2021,
section 3. Pooling: *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*,
Reimers and Gurevych, 2019, section 3.
Differences:
  - no map follows the pooling in training; the released code has one over the class
    token, dropped afterwards.
  - negatives are those of the micro-batch.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdm.masks.choices import check_choice
from mdm.methods.base import Mean, Method, mean_of

Batch = Mapping[str, jax.Array | np.ndarray]
POOLS = ("mean", "cls", "max")


class SimCSE(Method):
  """Sentences as vectors. Streams: `dropout`.

  Attributes:
    network: `nn.bert.Bert`: (tokens [b n], valid=..., train=...) to states [b n d].
    pool: "mean" over real tokens, "cls" (the first token) or "max".
    normalises: whether vectors have length 1.
    temperature: tau.
  """

  network: nn.Module
  pool: str = "mean"
  normalises: bool = True
  temperature: float = 0.05

  @property
  def vocab_size(self) -> int:
    """V, the number of tokens that the network knows."""
    return int(getattr(self.network, "vocab_size"))  # noqa: B009  of all encoders

  def setup(self) -> None:
    """Checks the settings."""
    check_choice("method.pool", self.pool, POOLS)
    if self.temperature <= 0:
      raise ValueError(
        f"method.temperature = {self.temperature} must be above 0; published 0.05."
      )

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats per sentence; `accuracy`: the share that finds itself first."""
    first = unit(self.embed(batch, train=train))  # b d
    second = unit(self.embed(batch, train=train))  # b d
    cosine = jnp.einsum("bd,cd->bc", first, second)
    weight = self.weight(batch)  # b
    is_real = weight[None, :] > 0  # a row that fills a batch is nobody's negative
    logits = jnp.where(is_real, cosine / self.temperature, -jnp.inf)  # b c
    own = jnp.diagonal(logits)
    own = jnp.where(weight > 0, own, 0.0)
    nats = jax.nn.logsumexp(logits, axis=1) - own  # b, equation 1
    is_first = (logits.argmax(1) == jnp.arange(len(logits))).astype(jnp.float32)
    return {"loss": mean_of(nats, weight), "accuracy": mean_of(is_first, weight)}

  def embed(self, batch: Batch, *, train: bool) -> Float[Array, "b d"]:
    """Pooled states."""
    tokens = jnp.asarray(batch["tokens"])
    given = batch.get("valid")
    valid = jnp.ones(tokens.shape, bool) if given is None else jnp.asarray(given)
    states = self.network(tokens, valid=valid, train=train)  # b n d
    return pool_states(states.astype(jnp.float32), valid, self.pool)

  def encode(self, batch: Batch) -> Float[Array, "b d"]:
    """A vector of each row of tokens."""
    pooled = self.embed(batch, train=False)
    return unit(pooled) if self.normalises else pooled


def pool_states(
  states: Float[Array, "b n d"], valid: Bool[Array, "b n"], pool: str
) -> Float[Array, "b d"]:
  """One vector of each row's real tokens; zeros for a row without any."""
  real = valid[..., None]
  if pool == "cls":
    return jnp.where(real[:, 0], states[:, 0], 0.0)
  if pool == "max":
    most = jnp.where(real, states, -jnp.inf).max(1)
    return jnp.where(real.any(1), most, 0.0)
  total = jnp.where(real, states, 0.0).sum(1)
  return total / jnp.maximum(real.sum(1), 1)


def unit(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
  """Vectors of length 1; zeros stay zeros."""
  square = jnp.square(x).sum(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))
