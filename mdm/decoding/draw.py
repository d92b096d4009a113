"""Random choices for samplers: classes, coins, temperature, top-p, all in float32.

A Gumbel draw from one 23-bit number never exceeds 16.6, so that events rarer than about
1e-7 never happen: sampling then acts as at a lower temperature, with better likelihood
and less diversity. Here every draw takes two such numbers, which moves the limit to
about 1e-14 without float64. A class is drawn in two stages, first one of about sqrt(v)
groups, then one of its members: exact as well, with 2 sqrt(v) noise numbers, not v.

Source: *Masked Diffusion Models are Secretly Time-Agnostic Masked Models*, 2024, on the
numerical precision of Gumbel draws; *The Curious Case of Neural Text Degeneration*,
Holtzman et al., 2020, section 3.1 (top-p).
Differences: the published samplers compute in float64 and sort, or bisect, to find what
top-p keeps. Here a class is drawn from all and taken if the likelier ones have less
than `top_p`, else drawn again from these alone: the same law, in one reading of the
logits and a few of the rows that failed. Every class that ties with the last one that
is needed is kept.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.keys import fold_keys, split_keys

SHARE = 8  # of n positions, n / SHARE are drawn again at once


def draw_tokens(
  keys: Key[Array, "b"],
  logits: Float[Array, "b n v"],
  *,
  temperature: float = 1.0,
  top_p: float = 1.0,
  where: Bool[Array, "b n"] | None = None,
) -> Int[Array, "b n"]:
  """Draws a class for each position: softmax(logits / temperature), cut to `top_p`.

  Args:
    keys: one per row.
    logits: -inf excludes a class; each position needs a finite one.
    temperature: 0 takes the likeliest class.
    top_p: in (0, 1]; 1 keeps all classes.
    where: positions whose class will be used; others may have one that `top_p` cuts
      off. None for all.
  """
  if temperature == 0:
    return likeliest(logits)
  logits = adjust_logits(logits, temperature, 1.0)
  if top_p == 1:
    return _draw_classes(keys, logits)
  return _draw_nucleus(keys, logits, top_p, where)


def likeliest(logits: Float[Array, "*dims v"]) -> Int[Array, "*dims"]:
  """The first class with the largest logit; v where one is not a number.

  The same as argmax, as two plain reductions: on CPUs several times faster.
  """
  v = logits.shape[-1]
  is_most = logits == logits.max(axis=-1, keepdims=True)
  return jnp.where(is_most, jnp.arange(v), v).min(axis=-1)


def adjust_logits(
  logits: Float[Array, "*dims v"], temperature: float, top_p: float
) -> Float[Array, "*dims v"]:
  """Logits of what `draw_tokens` draws from; at temperature 0 they stay as they are."""
  if temperature not in (0, 1):
    logits = logits / temperature
  return logits if top_p == 1 or temperature == 0 else keep_top_p(logits, top_p)


def keep_top_p(
  logits: Float[Array, "*dims v"], top_p: float
) -> Float[Array, "*dims v"]:
  """Excludes all but the fewest likeliest classes that reach probability `top_p`.

  The likeliest class always stays. The smallest probability to keep is found bit by
  bit: as integers, positive floats keep their order.
  """
  probs = jax.nn.softmax(logits, axis=-1)
  as_bits = lambda x: jax.lax.bitcast_convert_type(x, jnp.int32)  # noqa: E731
  as_prob = lambda x: jax.lax.bitcast_convert_type(x, jnp.float32)  # noqa: E731

  def halve(
    _: Int[Array, ""], ends: tuple[Int[Array, "*dims 1"], Int[Array, "*dims 1"]]
  ) -> tuple[Int[Array, "*dims 1"], Int[Array, "*dims 1"]]:
    """Keeps the half in which the kept probability falls below top_p."""
    low, high = ends
    middle = low + (high - low) // 2
    kept = jnp.where(probs >= as_prob(middle), probs, 0.0).sum(axis=-1, keepdims=True)
    is_enough = kept >= top_p
    return jnp.where(is_enough, middle, low), jnp.where(is_enough, high, middle)

  too_high = as_bits(probs.max(axis=-1, keepdims=True)) + 1
  start = (jnp.zeros_like(too_high), too_high)
  least, _ = jax.lax.fori_loop(0, 31, halve, start)
  return jnp.where(probs >= as_prob(least), logits, -jnp.inf)


def token_probs(
  logits: Float[Array, "b n v"], tokens: Int[Array, "b n"]
) -> Float[Array, "b n"]:
  """Softmax probability of one class at each position."""
  chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]  # b n
  return jnp.exp(chosen - jax.nn.logsumexp(logits, axis=-1))


def flip_coins(keys: Key[Array, "b"], prob: Float[Array, "b n"]) -> Bool[Array, "b n"]:
  """True with probability `prob` at each position, each row from its own key."""
  flip = lambda key, p: jax.random.bernoulli(key, p, mode="high")  # noqa: E731
  return jax.vmap(flip)(keys, prob)


def exclude_classes(
  logits: Float[Array, "b n v"], ids: tuple[int, ...]
) -> Float[Array, "b n v"]:
  """Sets the logits of some classes to -inf."""
  return logits.at[..., jnp.asarray(ids)].set(-jnp.inf) if ids else logits


def _draw_nucleus(
  keys: Key[Array, "b"],
  logits: Float[Array, "b n v"],
  top_p: float,
  where: Bool[Array, "b n"] | None,
) -> Int[Array, "b n"]:
  """Draws from all classes, then again where the class lies outside the nucleus.

  A class outside has `top_p` or more above it, so that the nucleus lies above it too:
  it is drawn again from what is likelier. Each row draws for some positions at once.
  """
  first_key, again_key = split_keys(keys, 2)
  rows, width = jnp.arange(len(keys))[:, None], -(-logits.shape[1] // SHARE)
  log_total = jax.nn.logsumexp(logits, axis=-1)  # b n
  tokens = _draw_classes(first_key, logits)
  is_out = _is_outside(logits, log_total, tokens, top_p)

  def draw_again(
    state: tuple[jax.Array, jax.Array, jax.Array],
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Some positions of each row, from what is likelier than the class they have."""
    round_, tokens, is_out = state
    was_out, at = jax.lax.top_k(is_out.astype(jnp.float32), width)  # b w
    some, old = logits[rows, at], tokens[rows, at]
    least = jnp.take_along_axis(some, old[..., None], axis=-1)
    above = jnp.where(some > least, some, -jnp.inf)
    new = _draw_classes(fold_keys(again_key, round_), above)
    new = jnp.where(was_out > 0, new, old)
    still_out = _is_outside(some, log_total[rows, at], new, top_p) & (was_out > 0)
    return (
      round_ + 1,
      tokens.at[rows, at].set(new),
      is_out.at[rows, at].set(still_out),
    )

  is_out = is_out if where is None else is_out & where
  state = (jnp.zeros((), jnp.int32), tokens, is_out)
  return jax.lax.while_loop(lambda state: state[2].any(), draw_again, state)[1]


def _is_outside(
  logits: Float[Array, "b n v"],
  log_total: Float[Array, "b n"],
  tokens: Int[Array, "b n"],
  top_p: float,
) -> Bool[Array, "b n"]:
  """Whether the classes likelier than a token reach `top_p` without it."""
  chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)
  probs = jnp.exp(logits - log_total[..., None])
  return jnp.where(logits > chosen, probs, 0.0).sum(axis=-1) >= top_p


def _draw_classes(
  keys: Key[Array, "b"], logits: Float[Array, "b n v"]
) -> Int[Array, "b n"]:
  """One class per position in proportion to exp(logits), by groups."""
  v = logits.shape[-1]
  size = math.isqrt(v - 1) + 1
  groups = -(-v // size)
  rest = [(0, 0), (0, 0), (0, groups * size - v)]
  padded = jnp.pad(logits, rest, constant_values=-jnp.inf)
  members = padded.reshape(*logits.shape[:-1], groups, size)  # b n groups size
  shape = (logits.shape[1], groups + size)
  noise = jax.vmap(lambda key: jax.random.gumbel(key, shape, mode="high"))(keys)
  group = likeliest(jax.nn.logsumexp(members, axis=-1) + noise[..., :groups])  # b n
  chosen = jnp.take_along_axis(members, group[..., None, None], axis=-2)[..., 0, :]
  return group * size + likeliest(chosen + noise[..., groups:])
