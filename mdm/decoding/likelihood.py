"""How likely a predictor finds a text: bounds on -log p, each with a standard error.

  nelbo            Int_0^1 w(t) E[ sum of -log f(x_i | z_t) over the hidden ] dt, the
                   times one to each of K strata, each token hidden by itself
  nelbo_by_count   (L / l) sum of -log f over exactly l hidden, l spread over 1..L
  nelbo_exact      the same mean over all subsets S of the positions, each with weight
                   1 / (k C(L, k)), k = |S|: no sampling, for short rows

The three have one expectation, -log p(x) if f gives the true conditionals and above it
otherwise. Counting has by far the least variance: a predictor that finds all tokens
alike gets its value without any, where hiding each token by itself with weight 1/t has
a variance that grows with the logarithm of the shortest time.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, equation
4; *Large Language Diffusion Models*, 2025, likelihood evaluation; the subsets follow
from integrating over t, as in *Autoregressive Diffusion Models*, 2022, section 2.
Differences: LLaDA spreads counts by one random start; here each count has its own
random number within its stratum, so that every count is equally likely. A standard
error is estimated from differences of neighbouring strata, since the spread between far
ones is no error.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.decoding.reader import Predict
from mdm.masks.corruption import hide_count, hide_tokens
from mdm.masks.keys import fold_keys, split_keys
from mdm.masks.schedule import MaskSchedule
from mdm.masks.times import sample_counts, sample_times

LINEAR = MaskSchedule()
LONGEST_EXACT = 16


class Score(NamedTuple):
  """Nats of each row's tokens that could be hidden, and the standard error of each.

  The error is that of the estimate for this very text: 0 for an exact score, infinite
  for a single sample.
  """

  nats: Float[Array, "b"]
  error: Float[Array, "b"]


class Rate(NamedTuple):
  """A score per token, or per character: bits and perplexity, with standard errors."""

  bits: float
  bits_error: float
  perplexity: float
  perplexity_error: float


def nelbo(
  predict: Predict,
  tokens: Int[Array, "b n"],
  can_hide: Bool[Array, "b n"],
  keys: Key[Array, "b"],
  *,
  mask_id: int,
  schedule: MaskSchedule = LINEAR,
  num_strata: int = 128,
  low: float = 0.0,
) -> Score:
  """Estimates the bound of continuous time, in nats per row.

  Args:
    predict: from tokens and times to logits.
    tokens: clean rows.
    can_hide: what is scored; prompts and padding stay visible and count nothing.
    keys: one per row.
    mask_id: the id of a hidden position.
    schedule: decides the weights and, with the predictor, the bound; not its value for
      a predictor that does not look at the time.
    num_strata: times, and predictor calls, to each row.
    low: earliest time; MDLM starts at 1e-3. What lies before is left out of the bound.
  """
  time_key, mask_key = split_keys(keys, 2)
  times = spread_times(time_key, num_strata, low=low)  # b s

  def estimate(keys: Key[Array, "b"], t: Float[Array, "b"]) -> Float[Array, "b"]:
    """One stratum's estimate of each row."""
    rate = schedule.rate(t)
    hidden, mask = hide_tokens(keys, tokens, can_hide, rate, mask_id=mask_id)
    nats = token_nats(predict(hidden, t), tokens)
    return (1.0 - low) * schedule.weight(t) * (nats * mask).sum(axis=-1)

  return average_strata(estimate, mask_key, times)


def nelbo_by_count(
  predict: Predict,
  tokens: Int[Array, "b n"],
  can_hide: Bool[Array, "b n"],
  keys: Key[Array, "b"],
  *,
  mask_id: int,
  schedule: MaskSchedule = LINEAR,
  num_samples: int = 128,
) -> Score:
  """Estimates -log p(what can be hidden | the rest), in nats per row.

  Args as in `nelbo`; with a prompt that cannot be hidden this is the conditional
  likelihood of the answer. One sample is exact for an answer of one token. The
  predictor is told the time whose mask rate is the hidden share.
  """
  count_key, mask_key = split_keys(keys, 2)
  length = can_hide.sum(axis=-1)  # b
  draw = lambda key, length: sample_counts(  # noqa: E731
    key, jnp.arange(num_samples), num_samples, length, "stratified"
  )
  counts = jnp.sort(jax.vmap(draw)(count_key, length), axis=-1)  # b s

  def estimate(keys: Key[Array, "b"], count: Int[Array, "b"]) -> Float[Array, "b"]:
    """One count's estimate of each row."""
    share = count / jnp.maximum(length, 1)
    t = schedule.inverse(1.0 - share)
    hidden, mask = hide_count(keys, tokens, can_hide, count, mask_id=mask_id)
    nats = token_nats(predict(hidden, t), tokens)
    return (nats * mask).sum(axis=-1) / share

  return average_strata(estimate, mask_key, counts)


def nelbo_exact(
  predict: Predict,
  tokens: Int[Array, "b n"],
  can_hide: Bool[Array, "b n"],
  *,
  mask_id: int,
  schedule: MaskSchedule = LINEAR,
) -> Score:
  """The mean of `nelbo_by_count` over everything it could draw: 2^n - 1 calls.

  Raises:
    ValueError: for rows longer than `LONGEST_EXACT`.
  """
  n = tokens.shape[1]
  if n > LONGEST_EXACT:
    raise ValueError(
      f"an exact score of {n} tokens takes 2^{n} - 1 calls; rows may have "
      f"{LONGEST_EXACT} at most. Use nelbo_by_count."
    )
  subsets = np.asarray(list(itertools.product([False, True], repeat=n))[1:])  # s n
  length = can_hide.sum(axis=-1)
  sizes = np.arange(n + 1)
  choose = np.asarray([[math.comb(i, k) for k in sizes] for i in sizes], np.float32)

  def part(subset: Bool[Array, "n"]) -> Float[Array, "b"]:
    """What one subset adds to each row that may hide all of it."""
    size = subset.sum()
    weight = 1.0 / (size * jnp.maximum(jnp.asarray(choose)[length, size], 1.0))
    t = schedule.inverse(1.0 - size / jnp.maximum(length, 1))
    nats = token_nats(predict(jnp.where(subset, mask_id, tokens), t), tokens)
    is_counted = ~(subset & ~can_hide).any(axis=-1)
    return jnp.where(is_counted, weight * (nats * subset).sum(axis=-1), 0.0)

  nats = jax.lax.map(part, jnp.asarray(subsets)).sum(axis=0)
  return Score(nats, jnp.zeros_like(nats))


def token_nats(
  logits: Float[Array, "b n v"], tokens: Int[Array, "b n"]
) -> Float[Array, "b n"]:
  """-log softmax(logits) of each token, in float32; 0 where the id has no class."""
  logits = logits.astype(jnp.float32)
  is_class = (tokens >= 0) & (tokens < logits.shape[-1])
  index = jnp.where(is_class, tokens, 0)[..., None]
  chosen = jnp.take_along_axis(logits, index, axis=-1)[..., 0]  # b n
  return jnp.where(is_class, jax.nn.logsumexp(logits, axis=-1) - chosen, 0.0)


def rate_of(score: Score, count: int) -> Rate:
  """All rows together, per token or character.

  Args:
    score: of rows scored independently of each other.
    count: tokens, or characters, in all of them.
  """
  total = float(np.asarray(score.nats, np.float64).sum()) / count
  error = float(np.sqrt(np.square(np.asarray(score.error, np.float64)).sum())) / count
  perplexity = math.exp(total)
  return Rate(total / math.log(2), error / math.log(2), perplexity, perplexity * error)


def spread_times(
  keys: Key[Array, "b"], num_strata: int, *, low: float = 0.0
) -> Float[Array, "b s"]:
  """Each row's times in order, one to each of the strata of [low, 1]."""

  def draw(key: Key[Array, ""]) -> Float[Array, "s"]:
    """One row's times."""
    place = jnp.arange(num_strata)
    return sample_times(key, place, num_strata, "stratified", low=low)

  return jnp.sort(jax.vmap(draw)(keys), axis=-1)


def average_strata(
  estimate: Callable[[jax.Array, jax.Array], jax.Array],
  keys: Key[Array, "b"],
  strata: Float[Array, "b s"] | Int[Array, "b s"],
) -> Score:
  """Mean of `estimate(keys, stratum)` over strata in order, and its standard error.

  Var(mean) = sum of (e_k - e_{k+1})^2 / (2 K (K + 1)), the first and last difference
  twice, so that every stratum is in two. What changes from one stratum to the next
  counts as error too: rather too large than too small.
  """
  num = strata.shape[1]

  def one(k: Int[Array, ""]) -> Float[Array, "b"]:
    """The estimates of stratum k."""
    return estimate(fold_keys(keys, k), strata[:, k])

  nats = jax.lax.map(one, jnp.arange(num))  # s b
  if num == 1:
    return Score(nats[0], jnp.full_like(nats[0], jnp.inf))
  steps = jnp.square(jnp.diff(nats, axis=0))  # s-1 b
  total = steps.sum(axis=0) + steps[0] + steps[-1]
  return Score(nats.mean(axis=0), jnp.sqrt(total / (2.0 * num * (num + 1))))
