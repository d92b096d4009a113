"""Masks guided by difficulty: what is predicted hard is hidden, more of it over time.

Of the hidden patches a share alpha are those of the largest predicted loss, the others
are drawn uniformly from the rest. alpha grows from easy to hard and may be traced: how
many are hidden does not change, so neither does any shape.

Source: *Hard Patches Mining for Masked Image Modeling*, Wang et al., 2023, section 3.3,
and its released code.
Differences: how many are hard is rounded down from the exact product; the released
code's product in double precision falls one short in an epoch of some settings.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mdm.masks.random import ROUNDING
from mdm.masks.scores import hide_highest, random_scores


def hard_scores(
  keys: Key[Array, "b"], difficulty: Float[Array, "b n"], num_hard: Int[Array, ""] | int
) -> Float[Array, "b n"]:
  """Scores above all others for the `num_hard` hardest patches, random for the rest.

  With `num_hard` = 0 these are the scores of `random_scores` from the same keys. No
  gradient flows into the difficulty.

  Args:
    keys: one key per example.
    difficulty: predicted loss of each patch.
    num_hard: how many are hidden for their difficulty, at most as many as are hidden
      (`count_hard`); may be traced.
  """
  n = difficulty.shape[1]
  is_hard = hide_highest(jax.lax.stop_gradient(difficulty), n - num_hard)
  return jnp.where(is_hard, 2.0, random_scores(keys, n))


def hard_share(
  epoch: Float[Array, ""] | float | int,
  epochs: Float[Array, ""] | float | int,
  *,
  start: float | int = 0.0,
  end: float | int = 0.5,
) -> Float[Array, ""]:
  """The share alpha in an epoch: start + (end - start) (floor(epoch) + 1) / epochs.

  Args:
    epoch: passes over the data so far, from 0; may be traced.
    epochs: passes in the whole training; alpha stays at `end` after them. May be
      traced.
    start: share before the training, in [0, 1].
    end: share in its last epoch, in [0, 1]; 1 hides the hardest patches alone.

  Raises:
    ValueError: for shares outside [0, 1] or epochs that are not positive.
  """
  if not (0 <= start <= 1 and 0 <= end <= 1):
    raise ValueError(
      f"hard shares from {start} to {end} lie outside [0, 1]; write 0.5 for half."
    )
  if not isinstance(epochs, jax.core.Tracer) and epochs <= 0:
    raise ValueError(f"epochs = {epochs} must be positive to spread a schedule over.")
  done = jnp.minimum((jnp.floor(epoch) + 1) / epochs, 1.0)
  return start + (end - start) * done


def count_hard(num_hidden: int, alpha: Float[Array, ""] | float) -> Int[Array, ""]:
  """How many of `num_hidden` patches are hidden for their difficulty: rounded down."""
  return ROUNDING["down"](num_hidden * alpha).astype(jnp.int32)
