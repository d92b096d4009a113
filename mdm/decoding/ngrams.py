"""What a language model of counts adds to a search: how likely each next token is.

  p_1(w) = (count(w) + 1) / (all + v)
  p_k(w | c) = (count(c w) + a p_{k-1}(w | c')) / (count(c) + a)

c are the k - 1 tokens before, c' all but the oldest of them, v the number of tokens.
What precedes a text is a token of its own, so that beginnings are known; ends are not.

Source: *A Hierarchical Dirichlet Language Model*, MacKay and Peto, 1995, equation 10.
Differences: one a for all orders, given and not estimated.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from mdm.decoding.prefixes import Bonus

MOST = 1 << 26  # numbers of a table


class Ngrams(NamedTuple):
  """Log-probabilities [contexts v]; contexts are numbers in base v + 1, v the start."""

  log_probs: Float32[np.ndarray, "contexts v"]
  order: int


def fit_ngrams(
  texts: Sequence[Sequence[int]], vocab_size: int, *, order: int = 3, a: float = 2.0
) -> Ngrams:
  """Counts n-grams of texts and smooths them.

  Args:
    texts: ids below `vocab_size`.
    vocab_size: v.
    order: tokens of the longest n-gram, 1 or more.
    a: how many tokens of counts the shorter n-grams weigh.

  Raises:
    ValueError: an order below 1, or one whose table would be too large; an id that is
      no token.
  """
  if order < 1 or vocab_size * (vocab_size + 1) ** (order - 1) > MOST:
    raise ValueError(
      f"order = {order} of {vocab_size} tokens has no table of 1 .. {MOST} numbers; "
      "choose another order."
    )
  probs = np.ones(vocab_size) / vocab_size
  for k in range(1, order + 1):
    shape = (vocab_size + 1,) * (k - 1) + (vocab_size,)
    counts = np.zeros(shape)
    for text in texts:
      ids = [vocab_size] * (k - 1) + list(text)
      if any(not 0 <= i < vocab_size for i in text):
        raise ValueError(f"a text has ids outside 0 .. {vocab_size - 1}: {text}.")
      for i in range(len(text)):
        counts[tuple(ids[i : i + k])] += 1
    weight = vocab_size if k == 1 else a
    probs = (counts + weight * probs) / (counts.sum(-1, keepdims=True) + weight)
  return Ngrams(np.log(probs).reshape(-1, vocab_size).astype(np.float32), order)


def make_bonus(ngrams: Ngrams, *, weight: float = 1.0, gain: float = 0.0) -> Bonus:
  """For a search on the device: `weight` times log p, and `gain` for every token.

  Classes are the tokens, then blank, which gains nothing.
  """
  v = ngrams.log_probs.shape[1]
  table = jnp.asarray(weight * ngrams.log_probs + gain)

  def bonus(
    tokens: Int[Array, "b w n"], length: Int[Array, "b w"]
  ) -> Float[Array, "b w classes"]:
    """What each next token gains after each prefix."""
    context = jnp.zeros_like(length)
    for back in range(ngrams.order - 1, 0, -1):
      place = jnp.maximum(length - back, 0)[..., None]
      token = jnp.take_along_axis(tokens, place, axis=-1)[..., 0]
      context = context * (v + 1) + jnp.where(length >= back, token, v)
    return jnp.pad(table[context], ((0, 0), (0, 0), (0, 1)))

  return bonus


def make_gains(
  ngrams: Ngrams, *, weight: float = 1.0, gain: float = 0.0
) -> Callable[[tuple[int, ...]], Float[np.ndarray, "classes"]]:
  """The same for a search in plain Python."""
  bonus = make_bonus(ngrams, weight=weight, gain=gain)

  def gains(prefix: tuple[int, ...]) -> Float[np.ndarray, "classes"]:
    """What each next token gains after a prefix."""
    tokens = np.zeros((1, 1, max(len(prefix), 1)), np.int32)
    tokens[0, 0, : len(prefix)] = prefix
    found: jax.Array = bonus(jnp.asarray(tokens), jnp.array([[len(prefix)]]))
    return np.asarray(found)[0, 0]

  return gains
