"""Where a training stands, as it tells the method: scalars of the batch, one table.

  step      steps taken before this one, skipped ones included
  examples  rows of the whole step, over micro-batches and devices
  epoch     passes over the data before this step, with its fraction
  epochs    passes over the data in the whole training, with its fraction
  progress  share of the training's steps that lie before this one, in [0, 1)

They come with every training batch and with the initialising one. Evaluations call a
method without them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def place_in_training(
  step: Int[Array, ""] | int, rows: int, *, steps: int, epoch: int
) -> dict[str, jax.Array]:
  """The scalars that a training step adds to its batch.

  Args:
    step: number of the step, 0 for the first.
    rows: examples of the whole step.
    steps: steps of the whole training.
    epoch: steps of one pass over the data.
  """
  step = jnp.asarray(step, jnp.int32)
  return {
    "step": step,
    "examples": jnp.asarray(rows, jnp.int32),
    "epoch": step.astype(jnp.float32) / max(epoch, 1),
    "epochs": jnp.asarray(max(steps, 1) / max(epoch, 1), jnp.float32),
    "progress": step.astype(jnp.float32) / max(steps, 1),
  }
