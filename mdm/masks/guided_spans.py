"""Spans that start where another model is sure, or where it is not.

K starts are drawn one after the other without replacement, each with probability
proportional to the confidence s of the frames not yet drawn. Frames in ascending order
of E_t / s_t, with E_t exponential, are such a sequence: so one sort draws any number.

Source: *Guided Data Selection for Masked Speech Modeling*, 2022 (Ask2Mask), section 3.
Differences: the rule "exact", which hides a share whatever the overlaps; "topk" takes
the K surest frames, as the patent of the same work puts it. Confidences of 0 count as
1e-20, so that a row of nothing else is drawn from uniformly.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import fold_keys, uniform_rows
from mdm.masks.spans import check_spans, hide_from, hide_share, rank_frames

RULES = ("exact", "count")
SELECTS = ("sample", "topk")
PREFERS = ("high", "low", "mixed")
FLOOR = 1e-20


def frame_confidence(
  logits: Float[Array, "b n v"], *, blank: int | None = None
) -> Float[Array, "b n"]:
  """Probability of the likeliest class of each frame: s_t = max_v p(v | frame).

  Args:
    logits: of a recogniser that gives classes frame by frame.
    blank: a class to leave out, the others taken to sum to 1. CTC is sure of its blank
      nearly everywhere and surest in silence, where nothing is to be learned.
  """
  logits = jax.lax.stop_gradient(logits.astype(jnp.float32))
  if blank is not None:
    logits = logits.at[..., blank].set(-jnp.inf)
  return jnp.exp(logits.max(-1) - jax.nn.logsumexp(logits, axis=-1))


def utterance_confidence(
  confidence: Float[Array, "b n"], length: Int[Array, "b"]
) -> Float[Array, "b"]:
  """Mean confidence of each row's real frames: its weight in ATM+S; 0 if it has none.

  Source: *Guided Data Selection for Masked Speech Modeling*, 2022, section 3.3.
  """
  real = jnp.arange(confidence.shape[1]) < length[:, None]
  return jnp.where(real, confidence, 0.0).sum(1) / jnp.maximum(length, 1)


def mask_guided_spans(
  keys: Key[Array, "b"],
  confidence: Float[Array, "b n"],
  length: Int[Array, "b"],
  *,
  ratio: float = 0.4,
  span: int = 10,
  rule: str = "exact",
  select: str = "sample",
  prefer: str = "high",
  temperature: float = 1.0,
  least: int = 1,
) -> Bool[Array, "b n"]:
  """Hides spans whose starts are drawn by confidence.

  With equal confidences and the rule "exact" it is the mask that `mask_spans` draws
  from the same keys by that rule.

  Args:
    keys: one key per row.
    confidence: s in [0, 1] of each frame; only its ratios within a row matter.
    length: real frames of each row.
    ratio: share of a row to hide.
    span: frames that a start hides.
    rule: "exact" hides that share; "count" draws as many starts as would hide it if
      they were drawn uniformly: L (1 - (1 - ratio)^(1 / span)), which is less.
    select: "sample", or "topk": the surest frames (ties in random order).
    prefer: "high" draws by s, "low" by 1 - s, "mixed" by turns by the one and other.
    temperature: exponent 1 / temperature of s; towards 0, "sample" becomes "topk".
    least: starts that every row has, as far as it has frames.

  Raises:
    ValueError: an unknown choice, or numbers out of range.
  """
  check_choice("rule", rule, RULES)
  check_choice("select", select, SELECTS)
  check_choice("prefer", prefer, PREFERS)
  check_spans(span, ratio, least)
  if temperature <= 0:
    raise ValueError(
      f"temperature = {temperature} is not above 0; select='topk' is its limit."
    )
  rank = _rank(keys, confidence, length, select, prefer, temperature)
  if rule == "exact":
    return hide_share(rank, length, ratio, span=span, least=least)
  share = 1.0 - (1.0 - ratio) ** (1.0 / span)
  count = jnp.floor(share * length + 0.5).astype(jnp.int32)
  return hide_from(rank < jnp.maximum(count, least)[:, None], length, span)


def start_divergence(
  confidence: Float[Array, "b n"],
  length: Int[Array, "b"],
  *,
  prefer: str = "high",
  temperature: float = 1.0,
) -> Float[Array, "b"]:
  """KL divergence in nats of the first start's distribution from the uniform one.

  Near 0 the guidance does nothing. "mixed" draws its first start as "high" does.
  """
  real = jnp.arange(confidence.shape[1]) < length[:, None]
  log_s = _log_preference(confidence, "low" if prefer == "low" else "high")
  log_p = jax.nn.log_softmax(jnp.where(real, log_s / temperature, -jnp.inf), axis=1)
  summed = jnp.where(real, jnp.exp(log_p) * jnp.where(real, log_p, 0.0), 0.0).sum(1)
  return jnp.where(length > 0, summed + jnp.log(jnp.maximum(length, 1)), 0.0)


def _rank(
  keys: Key[Array, "b"],
  confidence: Float[Array, "b n"],
  length: Int[Array, "b"],
  select: str,
  prefer: str,
  temperature: float,
) -> Int[Array, "b n"]:
  """The order in which frames are drawn as starts; those after the end get n."""
  if prefer == "mixed":  # by turns: first of the one order, first of the other, ...
    settings = (select, "high", temperature)
    high = _rank(keys, confidence, length, *settings)
    low = _rank(fold_keys(keys, 1), 1.0 - confidence, length, *settings)
    turn = jnp.minimum(2 * high, 2 * low + 1)
    return rank_frames(turn.astype(jnp.float32), length)
  n = confidence.shape[1]
  noise = uniform_rows(keys, n)
  log_s = _log_preference(confidence, prefer)
  if select == "topk":
    place = jnp.argsort(jnp.lexsort((noise, -log_s), axis=1), axis=1)
    return rank_frames(place.astype(jnp.float32), length)
  exponential = jnp.log(-jnp.log1p(-noise))  # -inf for a noise of 0: the first
  return rank_frames(exponential - log_s / temperature, length)


def _log_preference(
  confidence: Float[Array, "b n"], prefer: str
) -> Float[Array, "b n"]:
  """The logarithm of s, or of 1 - s, without a gradient."""
  s = jax.lax.stop_gradient(confidence.astype(jnp.float32))
  return jnp.log(jnp.maximum(s if prefer == "high" else 1.0 - s, FLOOR))
