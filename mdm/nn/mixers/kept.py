"""The constant-size cache of dynamic mask attention: each head's w best tokens so far.

Scores do not depend on who asks, so the set a token sees follows from the set before:

  S_t = TopW(S_{t-1} + {t})

A newcomer takes the place of the lowest score (among equals, of the earliest position)
where its own is at least that, or else is not kept by this head and not seen by its own
query. A step costs O(w), memory is O(w), and the sets are those of
`kernels.eviction.eviction_times`, bit for bit, where the float32 scores are.

Where the last r tokens are seen whatever their scores, they stand in a line, and what
leaves the line is the newcomer: a token is in one of both, and a step costs O(w + r).

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, for the mask; the
cache is ours.
Differences:
  - the authors' model keeps all keys and values, and scores them anew at each step.
  - what is dropped is gone, so tokens cannot be taken back: keep the cache of before
    (caches are values), or a cache of everything, from which `best_before` finds the
    set at any position.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.kernels.eviction import DEAD, sortable, survivors
from mdm.nn.mixers.base import NEVER, Place, empty_pairs
from mdm.nn.rotary import KeyValue


class Ranked(NamedTuple):
  """Scores and positions of what is kept, in any order; -inf and -1 where empty."""

  score: Float[Array, "b g w"]
  position: Int[Array, "b g w"]


class Line(NamedTuple):
  """Tokens one after the other; -1 is the position of padding, and of none at all."""

  key: Float[Array, "b g m k"]
  value: Float[Array, "b g m k"]
  score: Float[Array, "b g m"]
  position: Int[Array, "b #g m"]


class Recent(NamedTuple):
  """The last r tokens before position `length`, which is the same in all rows."""

  line: Line
  length: Int[Array, "b"]


class Kept(NamedTuple):
  """The kept tokens: what they are ranked by, their rotated keys, their values."""

  rank: Ranked
  key: Float[Array, "b g w k"]
  value: Float[Array, "b g w k"]
  recent: Recent | None = None


class Pushed(NamedTuple):
  """What becomes of w kept tokens and n new ones, in this order.

  A token is seen by the queries from its own position to before `end`, `NEVER` where
  it is still kept; 0 where there is none. Slot i holds token `source[i]` afterwards.
  """

  end: Int[Array, "b g w+n"]
  rank: Ranked
  source: Int[Array, "b g w"]


def empty_ranks(batch: int, heads: int, slots: int) -> Ranked:
  """Nothing kept yet."""
  shape = (batch, heads, slots)
  return Ranked(jnp.full(shape, -jnp.inf), jnp.full(shape, -1, jnp.int32))


def empty_kept(
  batch: int, heads: int, slots: int, width: int, dtype: DTypeLike
) -> Kept:
  """Nothing kept yet, with room for heads of `width`."""
  pairs = empty_pairs((batch, heads, slots, width), dtype)
  return Kept(empty_ranks(batch, heads, slots), *pairs)


def empty_line(
  batch: int, heads: int, length: int, width: int, dtype: DTypeLike
) -> Line:
  """No tokens yet, and room for the last `length`, with heads of `width`."""
  pairs = empty_pairs((batch, heads, length, width), dtype)
  position = jnp.full((batch, 1, length), -1, jnp.int32)
  return Line(*pairs, jnp.zeros((batch, heads, length)), position)


def push_scores(rank: Ranked, score: Float[Array, "b g n"], place: Place) -> Pushed:
  """Lets n tokens in, one after the other; all after those already there."""
  b, _, n = score.shape
  valid = jnp.ones((b, n), bool) if place.valid is None else place.valid
  valid = jnp.broadcast_to(valid[:, None], score.shape)
  score = _ranking(jax.lax.stop_gradient(score).astype(jnp.float32))
  push = jax.vmap(jax.vmap(_push_head, (0, 0, 0, None)), (0, 0, 0, None))
  return push(rank, score, valid, place.rows)


def _push_head(
  rank: Ranked, score: Float[Array, "n"], valid: Bool[Array, "n"], rows: Int[Array, "n"]
) -> Pushed:
  """`push_scores` of one head of one row."""
  slots, n = rank.score.shape[0], score.shape[0]

  def let_in(pushed: Pushed, new: tuple[Array, ...]) -> tuple[Pushed, None]:
    """One token; it or the one whose place it takes is seen up to here."""
    score, valid, row, number = new
    end, rank, source = pushed
    lowest = rank.score.min()
    slot = jnp.argmin(jnp.where(rank.score == lowest, rank.position, NEVER))
    enters = valid & (score >= lowest)  # it is later than all, so wins a tie
    end = end.at[jnp.where(enters, source[slot], number)].set(row)

    def put(array: Array, now: Array) -> Array:
      """The newcomer in the slot, if it enters."""
      return array.at[slot].set(jnp.where(enters, now, array[slot]))

    rank = Ranked(put(rank.score, score), put(rank.position, row))
    return Pushed(end, rank, put(source, number)), None

  numbers = jnp.arange(slots + n, dtype=jnp.int32)
  pushed = Pushed(jnp.full(slots + n, NEVER), rank, numbers[:slots])
  pushed, _ = jax.lax.scan(let_in, pushed, (score, valid, rows, numbers[slots:]))
  is_empty = jnp.pad(rank.position < 0, (0, n))  # w+n
  return pushed._replace(end=jnp.where(is_empty, 0, pushed.end))


def push_tokens(
  kept: Kept,
  pushed: Pushed,
  key: Float[Array, "b g n k"],
  value: Float[Array, "b g n k"],
) -> Kept:
  """The keys and values of those that came in, each in its slot."""
  slots = kept.key.shape[2]
  is_in = pushed.source[..., None, :] == slots + jnp.arange(key.shape[2])[:, None]
  slot = jnp.where(is_in.any(-1), is_in.argmax(-1), slots)  # b g n; w is nowhere
  place = jax.vmap(jax.vmap(lambda old, i, now: old.at[i].set(now, mode="drop")))
  return Kept(
    pushed.rank,
    place(kept.key, slot, key.astype(kept.key.dtype)),
    place(kept.value, slot, value.astype(kept.value.dtype)),
  )


def line_up(
  kept: Kept, pairs: KeyValue, score: Float[Array, "b g n"], place: Place
) -> Line:
  """The last r tokens, none where a sequence begins, and n new ones at their end."""
  key, value = (x.swapaxes(1, 2) for x in pairs)
  position = jnp.broadcast_to(place.rows, (score.shape[0], 1, score.shape[2]))
  if place.valid is not None:
    position = jnp.where(place.valid[:, None], position, -1)
  new = Line(key, value, score, position)
  if kept.recent is None:
    return new
  line = kept.recent.line
  if place.is_beginning:
    line = line._replace(position=jnp.full_like(line.position, -1))
  return join_lines(line, new)


def let_pass(kept: Kept, line: Line, place: Place) -> tuple[Pushed, Kept]:
  """Who leaves a line that n tokens have joined competes for the slots.

  Returns what becomes of those, and the cache after it.
  """
  n = place.positions.shape[1]
  leaving, last = cut_line(line, n)
  r = last.score.shape[-1]
  competes = place._replace(start=place.start - r, valid=leaving.position[:, 0] >= 0)
  pushed = push_scores(kept.rank, leaving.score, competes)
  after = push_tokens(kept, pushed, leaving.key, leaving.value)
  if kept.recent is not None:
    length = jnp.full_like(kept.recent.length, place.start + n)
    after = after._replace(recent=Recent(last, length))
  return pushed, after


def skip_to(kept: Kept, start: int | Int[Array, ""]) -> Kept:
  """The cache when all positions up to `start` have passed, of which none was real."""
  if kept.recent is None:
    return kept
  nothing = jax.tree.map(lambda x: jnp.zeros_like(x[:, :, :1]), kept.recent.line)
  nothing = nothing._replace(position=nothing.position - 1)

  def skip(_: Int[Array, ""], kept: Kept) -> Kept:
    """One position: the line moves on."""
    assert kept.recent is not None
    place = Place(kept.recent.length.max(), jnp.zeros((1, 1), jnp.int32), None, None)
    return let_pass(kept, join_lines(kept.recent.line, nothing), place)[1]

  return jax.lax.fori_loop(0, start - kept.recent.length.max(), skip, kept)


def cut_line(line: Line, count: int) -> tuple[Line, Line]:
  """The first `count` tokens, and the others."""
  first, others = (
    jax.tree.map(lambda x, part=part: x[:, :, part], line)
    for part in (slice(count), slice(count, None))
  )
  return first, others


def join_lines(first: Line, second: Line) -> Line:
  """Tokens of both, in the dtypes of the first."""
  return jax.tree.map(
    lambda x, y: jnp.concatenate([x, y.astype(x.dtype)], axis=2), first, second
  )


def beside(kept: Kept, line: Line) -> Line:
  """The kept tokens, of each head its own, and after them those in a line."""
  position = jnp.broadcast_to(line.position, line.score.shape)
  first = Line(kept.key, kept.value, kept.rank.score, kept.rank.position)
  return join_lines(first, line._replace(position=position))


def keep_last(
  score: Float[Array, "b g n"],
  end: Int[Array, "b g n"],
  slots: int,
  length: int | Int[Array, ""] | None = None,
) -> Ranked:
  """What is kept after a whole sequence, by its eviction times; the rest empty.

  With a `length`, after so many tokens of it.
  """
  if length is not None:
    is_kept = (jnp.arange(end.shape[-1]) < length) & (end >= length)
    end = jnp.where(is_kept, end.shape[-1], 0)
  position = survivors(end, slots)  # b g w
  kept = jnp.take_along_axis(_ranking(score), jnp.maximum(position, 0), -1)
  return Ranked(jnp.where(position < 0, -jnp.inf, kept), position)


def best_before(
  score: Float[Array, "b g m"], eligible: Bool[Array, "b m"], slots: int
) -> Ranked:
  """The highest scores among eligible positions, the latest first among equals."""
  rank = sortable(score, eligible[:, None])
  best, index = jax.lax.top_k(rank[..., ::-1], slots)  # ties: the lowest index
  position = (score.shape[-1] - 1 - index).astype(jnp.int32)
  kept = jnp.take_along_axis(_ranking(score), position, -1)
  is_empty = best == DEAD
  return Ranked(jnp.where(is_empty, -jnp.inf, kept), jnp.where(is_empty, -1, position))


def _ranking(score: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """What scores are ranked by: NaN is -inf, as in `kernels.eviction`."""
  return jnp.where(jnp.isnan(score), -jnp.inf, score)


def gather_tokens(
  x: Float[Array, "b n g k"], position: Int[Array, "b g w"]
) -> Float[Array, "b g w k"]:
  """Each head's tokens at the positions; zeros at negative ones."""
  index = jnp.maximum(position, 0)[..., None]  # b g w 1
  found = jnp.take_along_axis(x.swapaxes(1, 2), index, axis=2)
  return jnp.where(position[..., None] < 0, 0.0, found).astype(x.dtype)


def spread_ends(
  rank: Ranked, pushed: Pushed, rows: Int[Array, "n"], length: int
) -> Int[Array, "b g {length}"]:
  """The ends of kept and new tokens at their positions among `length`; else 0."""
  rows = jnp.broadcast_to(rows, (*rank.position.shape[:2], rows.shape[0]))
  position = jnp.concatenate([rank.position, rows], axis=-1)
  position = jnp.where(position < 0, length, position)  # nowhere
  zeros = jnp.zeros((*position.shape[:2], length), jnp.int32)
  place = jax.vmap(jax.vmap(lambda old, i, now: old.at[i].set(now, mode="drop")))
  return place(zeros, position, pushed.end)
