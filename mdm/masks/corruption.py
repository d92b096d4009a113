"""Hiding tokens for training and scoring: each by itself, or an exact number of them.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, section 2
(each token by itself); *Large Language Diffusion Models*, 2025, appendix on likelihood
evaluation (an exact number).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.random import mask_bernoulli, mask_count


class Corrupted(NamedTuple):
  """Rows with hidden tokens, and what the loss makes of them.

  `tokens` shows MASK where `mask` is True; the nats of a row's hidden positions count
  `weight` times in its loss.
  """

  tokens: Int[Array, "b n"]
  mask: Bool[Array, "b n"]
  weight: Float[Array, "b"]


def hide_tokens(
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  can_hide: Bool[Array, "b n"],
  rate: Float[Array, "b"],
  *,
  mask_id: int,
) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
  """Hides each token that may be hidden with its row's probability `rate`.

  Returns `(zt, mask)`; padding and given text (`can_hide` False) stay as they are.
  """
  mask = mask_bernoulli(keys, can_hide, rate)
  return jnp.where(mask, mask_id, tokens), mask


def hide_count(
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  can_hide: Bool[Array, "b n"],
  count: Int[Array, "b"],
  *,
  mask_id: int,
) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
  """Hides exactly `count` tokens of each row, every choice of them equally likely.

  Returns `(zt, mask)`. A count above what may be hidden hides all of that.
  """
  mask = mask_count(keys, can_hide, count)
  return jnp.where(mask, mask_id, tokens), mask
