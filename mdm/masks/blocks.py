"""Blocks of a row: who may see whom, and which stratum of time each block gets.

Source: *Block Diffusion: Interpolating Between Autoregressive and Diffusion Language
Models*, Arriola et al., 2025, section 3 (one pass over noised and clean text side by
side). Differences: the released code spreads the strata of time over the batch's
blocks row by row, which ties a block's time to its place; here they are permuted.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key


def block_causal_visible(
  length: int, block_length: int
) -> Bool[Array, "{length} {length}"]:
  """True where a token (first axis) may see another: its own block and those before."""
  block = jnp.arange(length) // block_length  # n
  return block[None, :] <= block[:, None]


def two_stream_visible(
  length: int, block_length: int
) -> Bool[Array, "2*{length} 2*{length}"]:
  """What [noised ; clean] text may see: the mask of one-pass training.

  A noised block sees itself and the clean blocks before it; a clean block sees the
  clean blocks up to itself. Block length 1 gives an autoregressive model, `length` a
  noised half that sees all of itself and nothing else.

  Returns:
    True where the query (first axis) may attend to the key (second axis).
  """
  block = jnp.arange(length) // block_length  # n
  query, key = block[:, None], block[None, :]
  noised = jnp.concatenate([query == key, key < query], axis=1)  # n 2n
  blind = jnp.zeros((length, length), bool)
  clean = jnp.concatenate([blind, block_causal_visible(length, block_length)], axis=1)
  return jnp.concatenate([noised, clean])  # 2n 2n


def spread_strata(
  key: Key[Array, ""],
  place: Int[Array, "b"],
  total: int | Int[Array, ""],
  num_blocks: int,
) -> Int[Array, "b {num_blocks}"]:
  """Gives every block of a step one of the total * num_blocks strata of time.

  Each stratum is given once. Seen over keys, every block of every row gets every
  stratum with the same probability. A row's blocks take coarse strata that are turned
  against its place by an offset of each block's own; within a coarse stratum its
  blocks share out the fine ones in a permuted order.

  Args:
    key: the step's, equal for all rows.
    place: number of each row in the whole step's batch, 0 to total - 1.
    total: rows in the whole step's batch.
    num_blocks: blocks to a row.
  """
  offset_key, order_key, turn_key = jax.random.split(key, 3)
  offset = jax.random.randint(offset_key, (num_blocks,), 0, total)
  coarse = (place[:, None] + offset) % total  # b blocks
  order = jax.random.permutation(order_key, num_blocks)

  def turn_of(stratum: Int[Array, ""]) -> Int[Array, ""]:
    """By how much the order of one coarse stratum is turned."""
    key = jax.random.fold_in(turn_key, stratum)
    return jax.random.randint(key, (), 0, num_blocks)

  fine = (order + jax.vmap(jax.vmap(turn_of))(coarse)) % num_blocks  # b blocks
  return coarse * num_blocks + fine


def check_blocks(length: int, block_length: int) -> None:
  """Checks that blocks of `block_length` fill a row of `length`.

  Raises:
    ValueError: if they do not.
  """
  if block_length < 1 or length % block_length:
    raise ValueError(
      f"block_length = {block_length} does not cut {length} tokens into whole blocks; "
      f"choose a divisor of the length."
    )
