"""The six ways in which a word is noised to train a mask-diffusion reader.

A word is m real tokens, its characters and one EOS, at the start of a canvas of n. One
strategy is drawn per row. It hides some real tokens, which carry the loss, and shows
the others. Positions from m on are hidden too, but carry no loss.

Source: MDiff4STR: Mask Diffusion Model for Scene Text Recognition, 2025, training
noise; the ranges of the random numbers follow the released label encoder.
Differences: `block_variant="uniform"` also draws the empty prefix; the released code
draws it only when a word falls into exactly two blocks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import uniform_rows

STRATEGIES = ("full", "right", "left", "block", "cloze", "random")
BLOCK_VARIANTS = ("released", "uniform")
FULL, RANDOM = STRATEGIES.index("full"), STRATEGIES.index("random")


class Noising(NamedTuple):
  """What one strategy made of each row.

  `mask` (hidden, with loss) and `visible` are disjoint and together the real tokens.
  """

  strategy: Int[Array, "b"]
  mask: Bool[Array, "b n"]
  visible: Bool[Array, "b n"]


def draw_noising(
  keys: Key[Array, "b"],
  num_tokens: Int[Array, "b"],
  length: int,
  *,
  weights: Float[Array, "6"] | None = None,
  block_variant: str = "released",
) -> Noising:
  """Draws a strategy for each row and applies it to the row's real tokens.

  Args:
    keys: one key per row.
    num_tokens: real tokens m of each row, EOS included. Words of at most two tokens
      take the random mask in place of strategies 1 to 4.
    length: positions n of the canvas.
    weights: relative frequency of each of `STRATEGIES`; None draws them equally often.
    block_variant: one of `BLOCK_VARIANTS`.

  Raises:
    ValueError: for an unknown block variant.
  """
  check_choice("block_variant", block_variant, BLOCK_VARIANTS)
  weights = jnp.ones(len(STRATEGIES)) if weights is None else weights
  num_scalars = len(Numbers._fields) - 1
  numbers = uniform_rows(keys, num_scalars + length)
  u = Numbers(*jnp.split(numbers, np.arange(1, num_scalars + 1), axis=1))
  m, position = num_tokens[:, None], jnp.arange(length)[None]

  edges = jnp.cumsum(weights)  # inverse distribution: a weight of 0 is never drawn
  strategy = (u.strategy * edges[-1] >= edges).sum(axis=1)
  strategy = jnp.where((num_tokens <= 2) & (strategy != FULL), RANDOM, strategy)
  masks = _every_mask(u, m, position, block_variant=block_variant)  # b 6 n
  mask = jnp.take_along_axis(masks, strategy[:, None, None], axis=1)[:, 0]  # b n
  real = position < m
  return Noising(strategy, mask & real, real & ~mask)


def strategy_weights(
  weights: Sequence[float | int] | None,
) -> tuple[float, ...]:
  """The six relative frequencies, checked; None means all equal.

  Raises:
    ValueError: unless there are six numbers, none negative and not all zero.
  """
  weights = (1.0,) * len(STRATEGIES) if weights is None else tuple(weights)
  if len(weights) != len(STRATEGIES) or min(weights) < 0 or sum(weights) <= 0:
    raise ValueError(
      f"strategy_weights = {weights} must be {len(STRATEGIES)} numbers, none below 0 "
      f"and one above it, in the order {', '.join(STRATEGIES)}."
    )
  return tuple(float(weight) for weight in weights)


class Numbers(NamedTuple):
  """Uniform numbers in [0, 1) that decide one row's noising, one to a choice."""

  strategy: Float[Array, "b 1"]
  split: Float[Array, "b 1"]
  blocks: Float[Array, "b 1"]
  prefix: Float[Array, "b 1"]
  side: Float[Array, "b 1"]
  single: Float[Array, "b 1"]
  share: Float[Array, "b 1"]
  noise: Float[Array, "b n"]


def _every_mask(
  u: Numbers, m: Int[Array, "b 1"], position: Int[Array, "1 n"], *, block_variant: str
) -> Bool[Array, "b 6 n"]:
  """What each strategy hides of rows of m tokens; positions from m on are moot."""
  right = position >= _pick(u.split, 1, m - 1)
  masks = (
    jnp.ones_like(right),
    right,
    ~right,  # the same split, seen from the other side
    _block_mask(u, m, position, right, block_variant),
    position == _pick(u.single, 0, m - 1),
    _random_mask(u, m, position),
  )
  return jnp.stack(masks, axis=1)  # b 6 n


def _block_mask(
  u: Numbers,
  m: Int[Array, "b 1"],
  position: Int[Array, "1 n"],
  right: Bool[Array, "b n"],
  block_variant: str,
) -> Bool[Array, "b n"]:
  """Shows a prefix of whole blocks; blocks of one token become strategy 1 or 2."""
  count = jnp.minimum(_pick(u.blocks, 2, 6), m)
  count = jnp.maximum(count, 1)  # m = 0 only in rows of padding
  size = m // count
  count = count + (m % count != 0)  # the remainder is a block of its own
  if block_variant == "released":
    chosen = jnp.where(count == 2, 1, _pick(u.prefix, 2, count))
  else:
    chosen = _pick(u.prefix, 1, count)
  one_sided = jnp.where(u.side < 0.5, right, ~right)
  return jnp.where(size == 1, one_sided, position >= size * (chosen - 1))


def _random_mask(
  u: Numbers, m: Int[Array, "b 1"], position: Int[Array, "1 n"]
) -> Bool[Array, "b n"]:
  """Hides each token with probability p ~ U(0, 1); one if none was hit."""
  mask = (u.noise < u.share) & (position < m)
  rescue = position == _pick(u.single, 0, m - 1)
  return jnp.where(mask.any(axis=1, keepdims=True), mask, rescue)


def _pick(
  u: Float[Array, "b 1"], low: int, high: int | Int[Array, "b 1"]
) -> Int[Array, "b 1"]:
  """The integer of low..high, both included, that a uniform number falls on."""
  return low + jnp.floor(u * (high - low + 1)).astype(jnp.int32)
