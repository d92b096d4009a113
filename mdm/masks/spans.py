"""Spans of hidden frames: each start hides itself and the frames after it.

A span is cut at the end of its row and may overlap others. How many starts there are
follows one of three rules, for rows of L frames:

  bernoulli   each frame is a start with probability `rate`: a long row is hidden to a
              share of 1 - (1 - rate)^span
  count       floor(ratio L / span + U[0, 1)) starts, drawn without replacement from
              those whose span fits
  exact       as few starts, in random order, as hide `ratio` of the row

A row's mask depends on its key and its length alone: neither on other rows nor on the
width of the batch.

Source: *wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations*, 2020, section 3.1 (bernoulli), and its code in fairseq (count, with
`least=2`); *w2v-BERT*, 2021, section 3.1. "exact" is ours.
Differences: rows no longer than a span are hidden as a whole instead of refused; with
"count" the last frame may be hidden too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import fold_keys, uniform_rows
from mdm.masks.random import ROUNDING

RULES = ("bernoulli", "count", "exact")


def mask_spans(
  keys: Key[Array, "b"],
  length: Int[Array, "b"],
  n: int,
  *,
  span: int = 10,
  rate: float = 0.065,
  rule: str = "bernoulli",
  ratio: float = 0.49,
  least: int = 1,
) -> Bool[Array, "b {n}"]:
  """Hides spans of each row's first `length` frames.

  Args:
    keys: one key per row.
    length: real frames of each row, at most `n`.
    n: frames of a row, padding included.
    span: frames that a start hides.
    rate: probability of a start, for the rule "bernoulli".
    rule: one of `RULES`.
    ratio: share of a row to hide, for the other two; "count" hides less, as its spans
      overlap.
    least: starts that every row has whatever the rule, as far as it has frames.

  Raises:
    ValueError: an unknown rule, or numbers out of range.
  """
  check_choice("rule", rule, RULES)
  check_spans(span, ratio, least, rate)
  noise = uniform_rows(keys, n)
  if rule == "exact":
    return hide_share(rank_frames(noise, length), length, ratio, span=span, least=least)
  if rule == "count":
    last = jnp.maximum(length - span, 0)  # of the starts whose span fits
    rank = rank_frames(noise, jnp.where(length > 0, last + 1, 0))
    extra = uniform_rows(fold_keys(keys, 1), 1)[:, 0]
    count = jnp.floor(ratio * length / span + extra).astype(jnp.int32)
    starts = rank < jnp.maximum(count, least)[:, None]
  else:
    starts = (noise < rate) | (rank_frames(noise, length) < least)
  return hide_from(starts, length, span)


def check_spans(span: int, ratio: float, least: int, rate: float = 0.0) -> None:
  """Checks the numbers that say how spans are drawn.

  Raises:
    ValueError: a span below 1, a share or rate outside [0, 1], fewer than no starts.
  """
  if span < 1:
    raise ValueError(f"span = {span} hides nothing; give at least 1 frame.")
  if least < 0:
    raise ValueError(f"least = {least} is below 0; 0 lets rows have no span at all.")
  for name, share in (("ratio", ratio), ("rate", rate)):
    if not 0 <= share <= 1:
      raise ValueError(f"{name} = {share} lies outside [0, 1]; write 0.5 for 50%.")


def rank_frames(
  order: Float[Array, "b n"], length: Int[Array, "b"]
) -> Int[Array, "b n"]:
  """Each frame's place in ascending `order`; frames after the end get n."""
  n = order.shape[1]
  real = jnp.arange(n) < length[:, None]
  # Real frames come first, however large their order: sorting keeps ties as they are.
  rank = jnp.argsort(jnp.argsort(jnp.where(real, order, jnp.inf), axis=1), axis=1)
  return jnp.where(real, rank, n)


def hide_from(
  starts: Bool[Array, "b n"], length: Int[Array, "b"], span: int
) -> Bool[Array, "b n"]:
  """Hides `span` frames from each start on, as far as the row goes."""
  n = starts.shape[1]
  past = jnp.cumsum(starts, axis=1)  # starts up to each frame
  gone = jnp.pad(past, ((0, 0), (span, 0)))[:, :n]  # those whose span is over
  return (past > gone) & (jnp.arange(n) < length[:, None])


def hide_share(
  rank: Int[Array, "b n"],
  length: Int[Array, "b"],
  ratio: float,
  *,
  span: int,
  least: int = 0,
) -> Bool[Array, "b n"]:
  """Hides spans in the order of their starts until `ratio` of each row is hidden.

  Let c be the least rank of a start whose span holds a frame: the frame is hidden if c
  is no larger than the k-th smallest c of its row, k = ratio L rounded up. So at least
  ratio L frames are hidden, and fewer than ratio L + span.

  Args:
    rank: order of the starts, as of `rank_frames`.
    least: starts that are used even if fewer would hide the share.
  """
  n = rank.shape[1]
  cover = jax.lax.reduce_window(
    rank, n, jax.lax.min, (1, span), (1, 1), ((0, 0), (span - 1, 0))
  )  # b n, the c above
  cover = jnp.where(jnp.arange(n) < length[:, None], cover, n)
  wanted = ROUNDING["up"](ratio * length.astype(jnp.float32)).astype(jnp.int32)
  place = jnp.maximum(wanted - 1, 0)[:, None]
  last = jnp.take_along_axis(jnp.sort(cover, axis=1), place, axis=1)  # b 1
  last = jnp.where(wanted[:, None] > 0, last, -1)
  return cover <= jnp.minimum(jnp.maximum(last, least - 1), n - 1)
