"""Hidden frames gathered into a fixed number of places, and wrong answers for each.

A frame's negatives are drawn uniformly, with replacement, from the other hidden frames
of its own row.

Source: *wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations*, 2020, section 3.2, and its code in fairseq.
Differences: shapes are fixed. Rows with fewer hidden frames than places have weights of
0; rows with more lose some, drawn at random. Rows are never made equal by showing what
was hidden.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.keys import fold_keys, uniform_rows

BUDGET = 0.6  # places of a row over its frames


class Negatives(NamedTuple):
  """Which frames are to be told apart from which; m places of a row, k negatives each.

  Attributes:
    anchors: hidden frames in their order; what `weight` is 0 for lies anywhere.
    index: each anchor's negatives, as places among `anchors`: columns of a matrix m x m
      of similarities. Never its own place, and never one of weight 0 but where the
      anchor itself has it.
    weight: 1 for places that hold a hidden frame which has negatives, else 0.
  """

  anchors: Int[Array, "b m"]
  index: Int[Array, "b m k"]  # type: ignore[assignment]  # instead of a tuple's
  weight: Float[Array, "b m"]


def draw_negatives(
  keys: Key[Array, "b"],
  mask: Bool[Array, "b n"],
  count: int,
  *,
  budget: float = BUDGET,
) -> Negatives:
  """Lists each row's hidden frames and draws `count` negatives for each of them.

  Args:
    keys: one key per row.
    mask: hidden frames.
    count: negatives k of each.
    budget: places m of a row over its n frames, rounded up.

  Raises:
    ValueError: fewer than one negative, or a budget outside (0, 1].
  """
  if count < 1:
    raise ValueError(f"count = {count} negatives is too few; draw at least 1.")
  if not 0 < budget <= 1:
    raise ValueError(f"budget = {budget} lies outside (0, 1]; 1 has room for all.")
  n = mask.shape[1]
  m = math.ceil(budget * n)
  lottery = jnp.where(mask, uniform_rows(fold_keys(keys, 1), n), jnp.inf)
  chosen = mask & (jnp.argsort(jnp.argsort(lottery, axis=1), axis=1) < m)
  anchors = jnp.argsort(~chosen, axis=1)[:, :m]  # the sort is stable: in their order
  found = chosen.sum(1)  # b
  others = jnp.maximum(found - 1, 1)

  def draw(key: Key[Array, ""], others: Int[Array, ""]) -> Int[Array, "m k"]:
    """Places among the others, counted as if one's own were not there."""
    return jax.random.randint(key, (m, count), 0, others)

  index = jax.vmap(draw)(keys, others)  # b m k
  own = jnp.arange(m)
  index = jnp.minimum(index + (index >= own[:, None]), m - 1)
  weight = (own < found[:, None]) & (found > 1)[:, None]
  return Negatives(anchors, index, weight.astype(jnp.float32))
