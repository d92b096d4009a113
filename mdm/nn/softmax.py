"""Softmax-weighted sums whose gradient goes over the scores as few times as it can.

  P = exp(S - max S),  r = 1 / sum P,  O = r P V
  dS = P * (r (dO V^T - sum(dO * O)))

The sum over keys is divided by after the product with V, and the gradient's inner sum
is taken over the width of V, so that no array of the size of S but P and dS is written.

Source: *FlashAttention*, Dao et al., 2022, appendix B.2 (the gradient's inner sum).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tangent = jax.Array


@jax.custom_jvp
def mix_by_softmax(
  scores: Float[Array, "b h q m"], value: Float[Array, "b h m e"]
) -> Float[Array, "b h q e"]:
  """softmax(scores) value, in the dtype of `value`; scores are float32."""
  weight, scale = _weigh(scores)
  return _sum(weight, value, scale).astype(value.dtype)


@mix_by_softmax.defjvp
def _mix_jvp(
  primals: tuple[jax.Array, jax.Array], tangents: tuple[Tangent, Tangent]
) -> tuple[jax.Array, Tangent]:
  """The sums, and how they change with scores and values."""
  (scores, value), (d_scores, d_value) = primals, tangents
  weight, scale = jax.lax.optimization_barrier(_weigh(scores))  # computed once
  out = _sum(weight, value, scale)  # b h q e
  change = weight * d_scores  # b h q m
  total = change.sum(-1, keepdims=True)  # b h q 1
  d_out = _sum(change, value, scale) + _sum(weight, d_value, scale)
  return out.astype(value.dtype), (d_out - out * total * scale).astype(value.dtype)


def _weigh(
  scores: Float[Array, "b h q m"],
) -> tuple[Float[Array, "b h q m"], Float[Array, "b h q 1"]]:
  """Exponentials that are 1 at most, and 1 over their sums."""
  weight = jnp.exp(scores - scores.max(-1, keepdims=True))
  return weight, 1.0 / weight.sum(-1, keepdims=True)


def _sum(
  weight: Float[Array, "b h q m"],
  value: Float[Array, "b h m e"],
  scale: Float[Array, "b h q 1"],
) -> Float[Array, "b h q e"]:
  """Sums of values, in float32."""
  mixed = jnp.einsum(
    "bhqm,bhme->bhqe",
    weight.astype(value.dtype),
    value,
    preferred_element_type=jnp.float32,
  )
  return mixed * scale
