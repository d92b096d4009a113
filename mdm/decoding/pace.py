"""Which positions are a pass's business: all of them, or one block after the other.

The hidden positions of a row, counted from the left, are cut into blocks; what is given
is skipped. So rows with prompts of different lengths, and infilling, need no alignment.
A row's T passes are shared out over its B blocks: block j starts at pass ceil(j T / B).

Source: *Large Language Diffusion Models*, 2025, semi-autoregressive remasking.
Differences: the released code needs a length that is a multiple of the block's and
passes that are a multiple of the number of blocks. Here the last block may be short,
and the number of passes is any from the number of blocks on.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Pace(NamedTuple):
  """Where each row is at each pass: `block` of each position, blocks and passes."""

  block: Int[Array, "b n"]
  num_blocks: Int[Array, "b"]
  num_steps: Int[Array, "b"]

  def window(self, step: Int[Array, ""]) -> Bool[Array, "b n"]:
    """The positions of the block of pass `step`."""
    return self.block == self._current(step)[:, None]

  def place(self, step: Int[Array, ""]) -> tuple[Int[Array, "b"], Int[Array, "b"]]:
    """Number of pass `step` within its block, and how many the block has."""
    block = self._current(step)
    first, end = self._first(block), self._first(block + 1)
    return step - first, jnp.maximum(end - first, 1)

  def _current(self, step: Int[Array, ""]) -> Int[Array, "b"]:
    return jnp.minimum(step * self.num_blocks // self.num_steps, self.num_blocks - 1)

  def _first(self, block: Int[Array, "b"]) -> Int[Array, "b"]:
    return -(-block * self.num_steps // self.num_blocks)


def make_pace(
  free: Bool[Array, "b n"], num_steps: int | None, block_length: int | None
) -> Pace:
  """Blocks of `block_length` free positions each, and the passes each row has.

  Args:
    free: positions to reveal.
    num_steps: passes of every row; None gives one to each position of a block.
    block_length: None takes all positions as one block. With fewer passes than blocks
      the last block takes all that is left.
  """
  size = block_length or free.shape[1]
  num_blocks = jnp.maximum(-(-free.sum(axis=-1) // size), 1)
  if num_steps is None:
    steps = num_blocks * size
  else:
    steps = jnp.full_like(num_blocks, num_steps)
    num_blocks = jnp.minimum(num_blocks, num_steps)
  block = (jnp.cumsum(free, axis=-1) - 1) // size
  block = jnp.clip(block, 0, num_blocks[:, None] - 1)
  return Pace(block, num_blocks, steps)
