"""Masks without structure: an exact share of each row, or each position by itself.

In every mask True means hidden. Padding is never hidden: `mask & ~valid` is empty.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import uniform_rows

# Relative slack: 0.15 * 20 is 3, though the product in floating point is not.
SLACK = 1e-6
ROUNDING = {
  "nearest": lambda share: jnp.floor(share * (1 + SLACK) + 0.5),  # halves go up
  "down": lambda share: jnp.floor(share * (1 + SLACK)),
  "up": lambda share: jnp.ceil(share * (1 - SLACK)),
}


def mask_exact(
  keys: Key[Array, "b"],
  valid: Bool[Array, "b n"],
  ratio: float | Float[Array, "b"],
  *,
  rounding: str = "nearest",
) -> Bool[Array, "b n"]:
  """Hides exactly `count_hidden(valid, ratio)` positions of each row, chosen uniformly.

  Args:
    keys: one key per row.
    valid: positions that may be hidden.
    ratio: share of the valid positions to hide, in [0, 1], for all rows or for each.
    rounding: what a share that is no whole number becomes: "nearest" (halves go up),
      "down" or "up".
  """
  return mask_count(keys, valid, count_hidden(valid, ratio, rounding=rounding))


def mask_count(
  keys: Key[Array, "b"], valid: Bool[Array, "b n"], count: Int[Array, "b"]
) -> Bool[Array, "b n"]:
  """Hides exactly `count` valid positions of each row, or all if there are fewer."""
  noise = jnp.where(valid, uniform_rows(keys, valid.shape[1]), jnp.inf)
  rank = jnp.argsort(jnp.argsort(noise, axis=-1), axis=-1)  # b n
  return valid & (rank < count[:, None])


def count_hidden(
  valid: Bool[Array, "b n"],
  ratio: float | Float[Array, "b"],
  *,
  rounding: str = "nearest",
) -> Int[Array, "b"]:
  """How many positions of each row `mask_exact` hides: ratio * valid, rounded.

  Raises:
    ValueError: for a ratio outside [0, 1] or an unknown rounding rule.
  """
  _check_ratio(ratio)
  check_choice("rounding", rounding, ROUNDING)
  share = ratio * valid.sum(axis=-1).astype(jnp.float32)
  return ROUNDING[rounding](share).astype(jnp.int32)


def mask_bernoulli(
  keys: Key[Array, "b"],
  valid: Bool[Array, "b n"],
  ratio: float | Float[Array, "b"],
) -> Bool[Array, "b n"]:
  """Hides each valid position by itself with probability `ratio`."""
  _check_ratio(ratio)
  return valid & (uniform_rows(keys, valid.shape[1]) < jnp.asarray(ratio)[..., None])


def _check_ratio(ratio: float | Float[Array, "b"]) -> None:
  if isinstance(ratio, jax.core.Tracer):
    return
  if np.any(np.asarray(ratio) < 0) or np.any(np.asarray(ratio) > 1):
    raise ValueError(f"mask ratio = {ratio} lies outside [0, 1]; write 0.75 for 75%.")
