"""Telling the right target from wrong ones by the angle between vectors.

  loss = -log( exp(cos(c, q) / kappa) / sum over q' in {q} and negatives of
               exp(cos(c, q') / kappa) )

All cosines of a row are computed at once, m x m, and those of negatives read from them:
no array of m x k vectors is built.

Source: *wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations*, 2020, equation 3, and its code in fairseq.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Contrast(NamedTuple):
  """What one anchor costs, and how it was told apart.

  Attributes:
    nats: the loss. Without any negative that counts it is 0: watch `others`.
    others: negatives that count, those which differ from the target.
    correct: whether the target is nearer than every one of them.
  """

  nats: Float[Array, "b m"]
  others: Int[Array, "b m"]
  correct: Bool[Array, "b m"]


def contrast(
  context: Float[Array, "b m d"],
  target: Float[Array, "b m d"],
  index: Int[Array, "b m k"],
  same: Bool[Array, "b m m"],
  *,
  temperature: float = 0.1,
) -> Contrast:
  """Compares each context vector with its target and with its negatives.

  Args:
    context: predictions c at the anchors.
    target: what they should be near, q.
    index: places of the negatives of each, as of `draw_negatives`.
    same: whether the targets of two places are equal: such negatives are dropped.
    temperature: kappa.
  """
  cosines = jnp.einsum(
    "bmd,bnd->bmn", _unit(context), _unit(target), precision="highest"
  )  # b m m
  right = jnp.diagonal(cosines, axis1=1, axis2=2)[..., None]  # b m 1
  wrong = jnp.take_along_axis(cosines, index, axis=2)  # b m k
  is_other = ~jnp.take_along_axis(same, index, axis=2)
  wrong = jnp.where(is_other, wrong, -jnp.inf)
  logits = jnp.concatenate([right, wrong], axis=-1) / temperature
  nats = jax.nn.logsumexp(logits, axis=-1) - logits[..., 0]
  correct = (right > wrong).all(-1)
  return Contrast(nats, is_other.sum(-1), correct)


def same_codes(ids: Int[Array, "b m g"]) -> Bool[Array, "b m m"]:
  """Whether two frames have the same entries in every group."""
  return (ids[:, :, None] == ids[:, None]).all(-1)


def _unit(x: Float[Array, "b m d"]) -> Float[Array, "b m d"]:
  """Divided by its length, at least 1e-8, in float32."""
  x = x.astype(jnp.float32)
  square = jnp.square(x).sum(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-16))
