"""Reading a CTC network: frame by frame, or by the likeliest text of all its paths.

Greedy decoding takes the likeliest class of each frame, merges equal neighbours and
drops blanks: the text of the likeliest path, which need not be the likeliest text. The
prefix search adds up all paths of a text. It keeps for each prefix how likely it is to
end in blank and in its last token, for only after a blank can the same token come once
more. There are two forms of it with the same result: on the device in a beam of fixed
width, and plain, for one clip at a time, as wide as one wants.

Source: *First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
Recurrent DNNs*, Hannun, Maas, Jurafsky and Ng, 2014, algorithm 1.
Differences: no bonus for words or their number beside that of the given `bonus`.
"""

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdm.decoding.prefixes import (
  NEVER,
  Beam,
  Bonus,
  Transcript,
  check_search,
  choose,
  empty_beam,
  grow,
  last_tokens,
  move_to_children,
)

Prefix = tuple[int, ...]


def decode_greedy(
  log_probs: Float[Array, "b f v"], frames: Bool[Array, "b f"], *, blank: int = 0
) -> Transcript:
  """The text of the likeliest path, whose log-probability is the score; n = f."""
  best = jnp.where(frames, log_probs.argmax(-1), blank)  # b f
  before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
  begins = (best != blank) & (best != before)
  order = jnp.argsort(~begins, axis=-1, stable=True)  # b n
  valid = jnp.arange(best.shape[1]) < begins.sum(-1, keepdims=True)
  tokens = jnp.where(valid, jnp.take_along_axis(best, order, axis=-1), 0)
  score = jnp.where(frames, log_probs.max(-1), 0.0).sum(-1)
  return Transcript(tokens, valid, jnp.where(valid, order, -1), score)


def decode_beam(
  log_probs: Float[Array, "b f v"],
  frames: Bool[Array, "b f"],
  *,
  beam: int = 16,
  length: int = 0,
  blank: int = 0,
  bonus: Bonus | None = None,
) -> Beam:
  """The likeliest texts by prefix search, on the device.

  Args:
    log_probs: of each class in each frame.
    frames: real frames, at the front of each row.
    beam: prefixes kept, w.
    length: most tokens of a text, n; 0 for as many as frames.
    blank: the class of frames that say nothing.
    bonus: what a language model adds; its n is `length`.

  Raises:
    ValueError: a beam or length below 1.
  """
  b, f, _ = log_probs.shape
  length = length or f
  check_search(beam, length)
  log_probs = jnp.where(frames[..., None], log_probs.astype(jnp.float32), 0.0)

  def advance(kept: Ending, now: tuple[jax.Array, jax.Array]) -> tuple[Ending, None]:
    """One frame; a row whose frames are over stays."""
    here, is_real = now
    after = _advance(kept, here, blank=blank, bonus=bonus)
    held = jax.tree.map(
      lambda new, old: jnp.where(is_real.reshape(b, *[1] * (new.ndim - 1)), new, old),
      after,
      kept,
    )
    return held, None

  start = empty_beam(b, beam, length)
  nothing = jnp.full((b, beam), NEVER)
  steps = (log_probs.swapaxes(0, 1), frames.T)
  found, _ = jax.lax.scan(advance, Ending(start, start.score, nothing), steps)
  return found.beam


class Ending(NamedTuple):
  """Prefixes, and how likely each ends in a blank or in its last token."""

  beam: Beam
  blank: Float[Array, "b w"]
  token: Float[Array, "b w"]


def _advance(
  kept: Ending, log_probs: Float[Array, "b v"], *, blank: int, bonus: Bonus | None
) -> Ending:
  """One frame of the search."""
  beam, v = kept.beam, log_probs.shape[-1]
  last = last_tokens(beam)  # b w
  is_last = jax.nn.one_hot(last, v, dtype=bool) & (beam.length > 0)[..., None]
  said = jnp.where(is_last, kept.blank[..., None], beam.score[..., None])
  said = said + log_probs[:, None]  # b w v
  if bonus is not None:
    said = said + bonus(beam.tokens, beam.length)
  is_full = beam.length == beam.tokens.shape[-1]
  closed = is_full[..., None] | (jnp.arange(v) == blank)
  said, gained = move_to_children(beam, jnp.where(closed, NEVER, said))
  ends = beam.score + log_probs[:, blank, None]  # b w
  again = kept.token + jnp.take_along_axis(log_probs, last, axis=-1)
  again = jnp.logaddexp(again, gained)
  source, token, score = choose(jnp.logaddexp(ends, again), said)
  stays = token < 0
  ends, again = (jnp.take_along_axis(x, source, axis=-1) for x in (ends, again))
  return Ending(
    grow(beam, source, token, score),
    jnp.where(stays, jnp.maximum(ends, NEVER), NEVER),
    jnp.where(stays, jnp.maximum(again, NEVER), score),
  )


def search_prefixes(
  log_probs: Float[np.ndarray, "f v"],
  *,
  beam: int = 0,
  blank: int = 0,
  bonus: Callable[[Prefix], Float[np.ndarray, "v"]] | None = None,
) -> list[tuple[Prefix, float]]:
  """The same search of one clip in plain Python, in float64.

  Args:
    log_probs: of the real frames.
    beam: prefixes kept; 0 for all, which makes the scores exact.
    blank: the class of frames that say nothing.
    bonus: from a prefix to what each next token gains.

  Returns:
    Texts and their scores in nats, best first.
  """
  kept: dict[Prefix, tuple[float, float]] = {(): (0.0, -math.inf)}
  for row in np.asarray(log_probs, np.float64):
    found: dict[Prefix, tuple[float, float]] = {}
    for prefix, (ends, token) in kept.items():
      whole = float(np.logaddexp(ends, token))
      _add(found, prefix, blank=whole + row[blank])
      if prefix:
        _add(found, prefix, token=token + row[prefix[-1]])
      gains = np.zeros_like(row) if bonus is None else bonus(prefix)
      for k, score in enumerate(row):
        if k != blank:
          before = ends if prefix and prefix[-1] == k else whole
          _add(found, (*prefix, k), token=before + score + gains[k])
    kept = found
    if beam:
      kept = dict(
        heapq.nlargest(beam, found.items(), key=lambda x: np.logaddexp(*x[1]))
      )
  ranked = sorted(((p, float(np.logaddexp(*s))) for p, s in kept.items()), key=_rank)
  return [(prefix, score) for prefix, score in ranked if score > -math.inf]


def _add(
  found: dict[Prefix, tuple[float, float]],
  prefix: Prefix,
  *,
  blank: float = -math.inf,
  token: float = -math.inf,
) -> None:
  """Adds to how likely a prefix ends in a blank or in its last token."""
  ends = found.get(prefix, (-math.inf, -math.inf))
  found[prefix] = (
    float(np.logaddexp(ends[0], blank)),
    float(np.logaddexp(ends[1], token)),
  )


def _rank(text: tuple[Prefix, float]) -> float:
  """Best first."""
  return -text[1]
