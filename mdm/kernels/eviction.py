"""When each key leaves the kept set: a dynamic mask in one integer per key.

A query at i keeps the `width` keys j <= i of greatest score, ties won by the latest.
Scores do not depend on the query, so a key that has left never returns: it is visible
to the queries j <= i < e_j, with

  e_j = min{ i >= j : #{m <= i : m beats j} >= width },  n if there is none.

Work is n (width + chunk) comparisons. A chunk needs what came before as its best
`width` keys only, which a scan over chunks hands on; or, as the best of two sets joined
are the best of each one's best, all chunks get it at once by an associative scan.

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, equation of the
dynamic mask (causal first, then top-w, as in the authors' model code); the eviction
times are ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.kernels.dispatch import target_platform
from mdm.kernels.intervals import check_length, check_segments

DEAD = -(2**31)  # sorts below every score
_ROWS = 16  # rows counted at once


class Own(NamedTuple):
  """A chunk's keys: scores as sortable integers, positions, and runs of segments."""

  score: Int[Array, "*c b g r"]
  position: Int[Array, "*c b g r"]
  run: Int[Array, "*c b #g r"]


class Kept(NamedTuple):
  """Keys kept so far, all of one run, each with how many have beaten it."""

  score: Int[Array, "*c b g w"]
  position: Int[Array, "*c b g w"]
  beaten: Int[Array, "*c b g w"]
  run: Int[Array, "*c b #g 1"]


def eviction_times(
  score: Float[Array, "b g n"],
  width: int,
  *,
  valid: Bool[Array, "b n"] | None = None,
  segments: Int[Array, "b n"] | None = None,
  chunk: int | None = None,
  is_parallel: bool | None = None,
) -> Int[Array, "b g n"]:
  """The first query position at which each key is no longer kept; n for never.

  Args:
    score: the higher, the longer kept; compared in float32, NaN as -inf. No gradient.
    width: how many keys a query keeps, at most.
    valid: False for padding, which is never kept: its time is its position.
    segments: runs of equal numbers; keys compete and are kept inside their run only.
    chunk: positions decided at once; None for the fastest. Changes no result.
    is_parallel: all chunks at once, else one after the other; None for the faster here.
      Changes no result.

  Raises:
    ValueError: a width or chunk below 1, more positions than int32 holds, or a segment
      in several pieces, where that is known already.
  """
  b, g, n = score.shape
  if is_parallel is None:
    is_parallel = target_platform() != "cpu"
  if chunk is None:  # joining the best of chunks costs more than comparing in them
    chunk = min(max(width, 128), 1024) if is_parallel else 128
  _check(n, width, chunk)
  if segments is not None:
    check_segments(segments)
  width, chunk = min(width, n), -(-min(chunk, n) // _ROWS) * _ROWS
  live = jnp.ones((b, n), bool) if valid is None else valid
  run, stop = _runs(jnp.zeros((b, n), jnp.int32) if segments is None else segments)
  position = jnp.arange(n, dtype=jnp.int32)
  own = _cut(sortable(score, live[:, None]), run, chunk)
  decide = _decide_at_once if is_parallel else _decide_in_turn
  index, time = (jnp.moveaxis(x, 0, 2).reshape(b, g, -1) for x in decide(own, width))
  end = jnp.full((b, g, n), n, jnp.int32)
  end = jax.vmap(jax.vmap(lambda e, i, t: e.at[i].set(t, mode="drop")))(
    end, index, time
  )
  return jnp.where(live[:, None], jnp.minimum(end, stop[:, None]), position)


def keep_recent(
  end: Int[Array, "b g n"],
  recent: int,
  *,
  valid: Bool[Array, "b n"] | None = None,
  segments: Int[Array, "b n"] | None = None,
) -> Int[Array, "b g n"]:
  """Times at which keys leave that are all seen while recent, and compete after that.

  e_j = end_j + recent, not beyond the end of j's segment: a query at i sees the keys
  after i - recent, and those that `end` keeps at i - recent. Padding counts among the
  recent positions and is not seen. Where `end` keeps up to `width` keys a query, this
  keeps up to width + recent.

  Args:
    recent: positions, the query's own included, whose keys are seen whatever their
      scores; 0 changes nothing.
    valid: False for padding.
    segments: runs of equal numbers, as those that `end` was made with.

  Raises:
    ValueError: recent below 0.
  """
  check_recent(recent)
  if recent == 0:
    return end
  stop = end.shape[-1] if segments is None else _runs(segments)[1][:, None]
  later = end + jnp.minimum(recent, stop - end)  # a sum that does not overflow
  return later if valid is None else jnp.where(valid[:, None], later, end)


def survivors(end: Int[Array, "b g n"], width: int) -> Int[Array, "b g w"]:
  """The keys still kept after the last position, by number; -1 for an empty place."""
  n = end.shape[-1]
  stays = end >= n
  place = jnp.where(stays, jnp.cumsum(stays, axis=-1) - 1, width)  # b g n
  numbers = jnp.arange(n, dtype=jnp.int32)
  kept = jnp.full((*end.shape[:2], width), -1, jnp.int32)
  put = jax.vmap(jax.vmap(lambda kept, i: kept.at[i].set(numbers, mode="drop")))
  return put(kept, place)


def check_recent(recent: int) -> None:
  """Raises ValueError where a number of recent keys is below 0."""
  if recent < 0:
    raise ValueError(f"recent = {recent} counts no tokens; give 0 for none, or more.")


def _check(n: int, width: int, chunk: int) -> None:
  """Raises ValueError where sizes are out of range."""
  if width < 1:
    raise ValueError(f"width = {width} lets a query keep nothing; give at least 1.")
  if chunk < 1:
    raise ValueError(f"chunk = {chunk} decides nothing; give at least 1.")
  check_length(n)


def sortable(
  score: Float[Array, "b g n"], live: Bool[Array, "b #g n"]
) -> Int[Array, "b g n"]:
  """Integers in the order of the scores, `DEAD` where they are not live.

  The bits of a negative float fall as it rises. -0 equals 0, and NaN is -inf.
  """
  score = jax.lax.stop_gradient(score).astype(jnp.float32)
  score = jnp.where(jnp.isnan(score), -jnp.inf, jnp.where(score == 0, 0.0, score))
  bits = jax.lax.bitcast_convert_type(score, jnp.int32)
  return jnp.where(live, jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits), DEAD)


def _runs(
  segments: Int[Array, "b n"],
) -> tuple[Int[Array, "b n"], Int[Array, "b n"]]:
  """Each position's run, counted from 0, and the position where that run ends."""
  n = segments.shape[1]
  changes = segments[:, 1:] != segments[:, :-1]  # b n-1
  run = jnp.pad(jnp.cumsum(changes, axis=1, dtype=jnp.int32), ((0, 0), (1, 0)))
  is_last = jnp.pad(changes, ((0, 0), (0, 1)), constant_values=True)
  after = jnp.arange(1, n + 1, dtype=jnp.int32)
  return run, jax.lax.cummin(jnp.where(is_last, after, n), axis=1, reverse=True)


def _cut(score: Int[Array, "b g n"], run: Int[Array, "b n"], chunk: int) -> Own:
  """Chunks first, the last one padded with dead keys."""
  b, g, n = score.shape
  pad = (0, -n % chunk)
  score = jnp.pad(score, ((0, 0), (0, 0), pad), constant_values=DEAD)
  run = jnp.pad(run, ((0, 0), pad), mode="edge")
  score = jnp.moveaxis(score.reshape(b, g, -1, chunk), 2, 0)  # c b g r
  run = jnp.moveaxis(run.reshape(b, 1, -1, chunk), 2, 0)  # c b 1 r
  position = jnp.arange(n + pad[1], dtype=jnp.int32).reshape(-1, 1, 1, chunk)
  return Own(score, jnp.broadcast_to(position, score.shape), run)


def _decide_in_turn(own: Own, width: int) -> tuple[jax.Array, jax.Array]:
  """Who leaves and when, [c b g w+r], by a scan that hands on who is kept."""
  _, b, g, _ = own.score.shape
  slots = jnp.zeros((b, g, width), jnp.int32)
  kept = Kept(slots + DEAD, slots, slots, own.run[0, ..., :1])

  def step(kept: Kept, own: Own) -> tuple[Kept, tuple[jax.Array, jax.Array]]:
    """One chunk: those of its keys that stay take the places of those that leave."""
    row, beaten = _leave(kept, own, width)
    return _refill(kept, own, row, beaten), _name(kept, own, row)

  return jax.lax.scan(step, kept, own)[1]


def _decide_at_once(own: Own, width: int) -> tuple[jax.Array, jax.Array]:
  """Who leaves and when, [c b g w+r], in all chunks at the same time."""
  kept = best_before(own, width)
  return _name(kept, own, _leave(kept, own, width)[0])


def best_before(own: Own, width: int) -> Kept:
  """The best keys of all chunks before each one, best first, of the run just before."""
  last = own.run[..., -1:]
  more = (*[(0, 0)] * 3, (0, max(width - own.score.shape[-1], 0)))
  score = jnp.flip(jnp.where(own.run == last, own.score, DEAD), -1)
  score = jnp.pad(score, more, constant_values=DEAD)
  best = _best(score, jnp.pad(jnp.flip(own.position, -1), more), width)

  def join(left: tuple, right: tuple) -> tuple:
    """The best of both, which are sorted; keys of a run that is over are dropped."""
    score, position, run = left
    score = jnp.where(run == right[2], score, DEAD)
    both = _best(_join(right[0], score), _join(right[1], position), width)
    return (*both, right[2])

  score, position, run = (
    jnp.concatenate([jnp.full_like(x[:1], fill), x[:-1]])
    for x, fill in zip(
      jax.lax.associative_scan(join, (*best, last)), (DEAD, 0, 0), strict=True
    )
  )
  beaten = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32), score.shape)
  return Kept(score, position, beaten, run)


def _best(
  score: Int[Array, "*c k"], position: Int[Array, "*c k"], width: int
) -> tuple[Int[Array, "*c w"], Int[Array, "*c w"]]:
  """The highest scores and whose they are; among equals the first one wins."""
  score, index = jax.lax.top_k(score, width)
  return score, jnp.take_along_axis(position, index, -1)


def _leave(kept: Kept, own: Own, width: int) -> tuple[jax.Array, jax.Array]:
  """The row at which each of w+r keys leaves, r for none; how many have beaten it then.

  Rows are counted in blocks first, then inside the block where the count gets to
  `width`.
  """
  w, chunk = kept.score.shape[-1], own.score.shape[-1]
  run = jnp.broadcast_to(kept.run, (*own.run.shape[:-1], w))
  number = jnp.arange(-w, chunk)  # of the row; kept ones came before
  keys = [_join(kept.score, own.score), number, _join(run, own.run)]
  is_met = own.run == kept.run  # else the kept ones are gone when the key comes
  before = (kept.score[..., :, None] > own.score[..., None, :]) & is_met[..., None, :]
  count = _join(kept.beaten, before.sum(-2, dtype=jnp.int32))

  blocks = [
    x.reshape(*x.shape[:-1], -1, _ROWS) for x in (own.score, number[w:], own.run)
  ]
  each = _beats([x[..., None] for x in blocks], keys).sum(-2, dtype=jnp.int32)
  total = count[..., None, :] + jnp.cumsum(each, axis=-2)  # q w+r
  block = (total < width).sum(-2, dtype=jnp.int32)
  q = total.shape[-2]
  is_past = jnp.arange(q)[:, None] < block[..., None, :]
  count += jnp.where(is_past, each, 0).sum(-2)

  here = jnp.minimum(block, q - 1)[..., None, :]  # 1 w+r
  rows = [_pick(x, here) for x in blocks]  # _ROWS w+r
  count = count[..., None, :] + jnp.cumsum(_beats(rows, keys), -2, dtype=jnp.int32)
  row = block * _ROWS + (count < width).sum(-2, dtype=jnp.int32)
  return jnp.minimum(jnp.maximum(row, number), chunk), total[..., -1, :]


def _beats(rows: list[jax.Array], keys: list[jax.Array]) -> Bool[Array, "*rows k"]:
  """Whether rows, whose axes come before the last, go before the keys."""
  more = rows[0].ndim - keys[0].ndim
  score, number, run = (
    jnp.expand_dims(x, tuple(range(-1 - more, -1))) if x.ndim > 1 else x for x in keys
  )
  better = (rows[0] > score) | ((rows[0] == score) & (rows[1] > number))
  return better & (rows[2] == run)


def _pick(x: Int[Array, "*b q r"], block: Int[Array, "*c 1 k"]) -> Int[Array, "*c r k"]:
  """The rows of each key's block."""
  x = x.swapaxes(-1, -2)  # r q
  x = jnp.broadcast_to(x, (*block.shape[:-2], *x.shape[-2:]))
  return jnp.take_along_axis(x, block, -1)


def _join(kept: Int[Array, "*c w"], own: Int[Array, "*c r"]) -> Int[Array, "*c k"]:
  """Keys of both, the kept ones first."""
  return jnp.concatenate([kept, own], axis=-1)


def _name(
  kept: Kept, own: Own, row: Int[Array, "*c b g k"]
) -> tuple[jax.Array, jax.Array]:
  """Keys that leave, past all positions where they do not, and the times they do."""
  chunk = own.score.shape[-1]
  leaves = (row < chunk) & (_join(kept.score, own.score) > DEAD)
  position = jnp.where(leaves, _join(kept.position, own.position), 2**31 - 1)
  return position, own.position[..., :1] + row


def _refill(
  kept: Kept, own: Own, row: Int[Array, "b g k"], beaten: Int[Array, "b g k"]
) -> Kept:
  """Who is kept after the chunk."""
  width, chunk = kept.score.shape[-1], own.score.shape[-1]
  last = own.run[..., -1:]
  stays = row == chunk
  is_free = ~stays[..., :width] | (kept.score == DEAD) | (kept.run != last)
  enters = stays[..., width:] & (own.score > DEAD) & (own.run == last)
  taken = match_places(is_free, enters)

  def fill(old: jax.Array, new: jax.Array, empty: int) -> jax.Array:
    """Puts the new ones in the free places."""
    chosen = jnp.take_along_axis(new, jnp.maximum(taken, 0), -1)
    return jnp.where(is_free, jnp.where(taken < 0, empty, chosen), old)

  return Kept(
    fill(kept.score, own.score, DEAD),
    fill(kept.position, own.position, 0),
    fill(beaten[..., :width], beaten[..., width:], 0),
    last,
  )


def match_places(
  is_free: Bool[Array, "*b w"], enters: Bool[Array, "*b r"]
) -> Int[Array, "*b w"]:
  """Who takes each free place, first come first served; -1 where nobody does."""
  rank = jnp.where(is_free, _rank(is_free), -1)[..., :, None]
  own_rank = jnp.where(enters, _rank(enters), -2)[..., None, :]
  return jnp.where(rank == own_rank, jnp.arange(enters.shape[-1]), -1).max(-1)


def _rank(chosen: Bool[Array, "*b r"]) -> Int[Array, "*b r"]:
  """How many are chosen before each."""
  return jnp.cumsum(chosen, axis=-1, dtype=jnp.int32) - chosen
