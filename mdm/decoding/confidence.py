"""Decoding in a few passes: commit what is surer than the average, then look again.

Source: MDiff4STR: Mask Diffusion Model for Scene Text Recognition, 2025, low-confidence
remasking; the windows of block decoding follow the released decoder.
Differences: a row without EOS has no cut, where the released code takes every position
as lying after it and commits nothing; the mean over no position is 0, not 0/0; a row
stops by itself and not with its batch; random commits follow each row's key.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.decoding.reader import Decoded, Reader
from mdm.decoding.reveal import Pass, reveal
from mdm.masks.keys import fold_keys, uniform_rows


def decode_confident(
  reader: Reader, canvas: Int[Array, "b n"], *, num_steps: int
) -> Decoded:
  """Commits, pass by pass, what is surer than the mean of all valid positions (LC)."""
  return reveal(
    reader,
    canvas,
    lambda seen: _above_mean(seen.confidence, seen.valid),
    num_steps=num_steps,
  )


def decode_blocks(
  reader: Reader, canvas: Int[Array, "b n"], *, num_steps: int
) -> Decoded:
  """LC within a window that moves from left to right (BLC)."""
  n = canvas.shape[1]

  def above_mean_of_window(seen: Pass) -> Bool[Array, "b n"]:
    """What is surer than the mean of the window."""
    valid = seen.valid & block_window(seen.step, n, num_steps)
    return _above_mean(seen.confidence, valid)

  return reveal(reader, canvas, above_mean_of_window, num_steps=num_steps)


def decode_random(
  reader: Reader, canvas: Int[Array, "b n"], keys: Key[Array, "b"], *, num_steps: int
) -> Decoded:
  """Commits each valid position with probability 1/2 a pass, by the row's own key."""
  n = canvas.shape[1]

  def half(seen: Pass) -> Bool[Array, "b n"]:
    """Each valid position with probability 1/2."""
    return seen.valid & (uniform_rows(fold_keys(keys, seen.step), n) > 0.5)

  return reveal(reader, canvas, half, num_steps=num_steps)


def block_window(step: Int[Array, ""], length: int, num_steps: int) -> Bool[Array, "n"]:
  """Where pass `step` of `decode_blocks` may commit: floor(n / K) to a block.

  The first three passes see one block more each from the left end on, later ones two
  blocks, the last two passes everything to the right end. With K <= 2 all is open.
  """
  position, block = jnp.arange(length), length // num_steps
  if num_steps <= 2:
    return jnp.ones(length, bool)
  is_early = step <= 2
  is_late = ~is_early & (step >= num_steps - 2)
  first = jnp.where(is_early, 0, block * (step - 1))
  end = jnp.where(is_late, length, block * (step + 1))
  return (position >= first) & (position < end)


def _above_mean(
  confidence: Float[Array, "b n"], valid: Bool[Array, "b n"]
) -> Bool[Array, "b n"]:
  """Valid positions strictly above the mean of the valid ones; none if all tie."""
  count = jnp.maximum(valid.sum(axis=-1, keepdims=True), 1)
  mean = jnp.where(valid, confidence, 0.0).sum(axis=-1, keepdims=True) / count
  most = jnp.where(valid, confidence, -jnp.inf).max(axis=-1, keepdims=True)
  least = jnp.where(valid, confidence, jnp.inf).min(axis=-1, keepdims=True)
  # The second term matters only where rounding lifts the mean to the maximum.
  return valid & (least < most) & ((confidence > mean) | (confidence == most))
