"""Attention over a sequence in shards: of a dynamic mask, only the kept keys travel.

What a query keeps of the shards before its own is among each one's best `width` keys.
So every shard sends these, takes the best `width` of all that were sent from before it,
in order of position, and puts them in front of its own keys. They are exactly what the
sequence so far has kept, and the problem left is the ordinary one over width + n keys
of which the last n are its own. width * shards rows travel, where gathering all keys
takes the whole sequence; gradients go back the same way. Where the last `recent` keys
are seen too, those before a shard come from its neighbours, and stand between the two.
Any other mask is served by gathering all keys and values (`attend_gathered`).

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, for the mask (see
`eviction.py`); that top-w merges across shards is ours. Gathering all keys and values:
*Context Parallelism for Scalable Million-Token Inference*, Yang et
al., 2024.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.kernels.eviction import check_recent, eviction_times, keep_recent
from mdm.kernels.interval_attention import Attended, interval_attention
from mdm.kernels.intervals import Intervals


class Survivors(NamedTuple):
  """Keys that may still be seen later, by position; dead ones fill empty places."""

  key: Float[Array, "b g k d"]
  value: Float[Array, "b g k e"]
  bias: Float[Array, "b g k"]
  score: Float[Array, "b g k"]
  live: Bool[Array, "b g k"]


def attend_sharded(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b n g d"],
  value: Float[Array, "b n g e"],
  score: Float[Array, "b g n"],
  *,
  width: int,
  axis: str,
  bias: Float[Array, "b g n"] | None = None,
  valid: Bool[Array, "b n"] | None = None,
  segments: Int[Array, "b n"] | None = None,
  mesh: jax.sharding.Mesh | None = None,
  **options: Any,
) -> Attended:
  """`attend_shard` of whole arrays: cuts them along the sequence, and joins results.

  Other mesh axes stay as they are, so that a batch may be sharded over them.

  Args:
    axis: of the mesh; the sequence is sharded over it.
    mesh: None for the one that `jax.set_mesh` has set.
    options: of `attend_shard`.

  Raises:
    ValueError: no such axis, a length that it does not divide, or as `attend_shard`.
  """
  sizes = (jax.sharding.get_abstract_mesh() if mesh is None else mesh).shape
  if axis not in sizes:
    raise ValueError(
      f"axis = {axis!r} is no axis of the mesh, which has {', '.join(sizes) or 'none'}"
      "; set one with jax.set_mesh."
    )
  if query.shape[1] % sizes[axis]:
    raise ValueError(
      f"{query.shape[1]} tokens do not divide into {sizes[axis]} shards; pad them and "
      "give valid."
    )
  along, last = jax.P(None, axis), jax.P(None, None, axis)

  def attend(arrays: Sequence[Any]) -> Attended:
    """One shard's part, its optional arrays by position."""
    q, k, v, score, *rest = arrays
    more = dict(zip(("bias", "valid", "segments"), rest, strict=True))
    return attend_shard(q, k, v, score, width=width, axis=axis, **more, **options)

  return jax.shard_map(
    attend,
    mesh=mesh,
    in_specs=([along, along, along, last, last, along, along],),
    out_specs=along,
    axis_names={axis},
    check_vma=False,
  )([query, key, value, score, bias, valid, segments])


def attend_gathered(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  intervals: Intervals,
  *,
  axis: str,
  positions: Int[Array, "n"] | None = None,
  **options: Any,
) -> Attended:
  """`interval_attention` with queries cut over a mesh axis, keys and values gathered.

  No shard has more than its own part of what grows with n m. Under a causal mask the
  last shard has the most to do.

  Args:
    axis: of the mesh that `jax.set_mesh` has set; a divisor of n.
    positions: of the queries; None: they are the last n of the m positions.
    options: of `interval_attention`, but `width` and `chunk`.
  """
  n, m = query.shape[1], key.shape[1]
  positions = jnp.arange(m - n, m) if positions is None else positions
  divides = m % jax.sharding.get_abstract_mesh().shape[axis] == 0

  def attend(arrays: tuple[Any, ...]) -> Attended:
    """One shard's queries; gradients of what it gathers are summed where they go."""
    query, positions, key, value, intervals, options = arrays
    if divides:
      key, value = (
        jax.lax.all_gather(x, axis, axis=1, tiled=True) for x in (key, value)
      )
    return interval_attention(
      query, key, value, intervals, positions=positions, **settings, **options
    )

  settings = {name: x for name, x in options.items() if not isinstance(x, jax.Array)}
  arrays = {name: x for name, x in options.items() if name not in settings}
  along, rows = jax.P(None, axis), jax.P(None, axis) if divides else jax.P()
  return jax.shard_map(
    attend,
    in_specs=((along, jax.P(axis), rows, rows, jax.P(), jax.P()),),
    out_specs=along,
    axis_names={axis},
    check_vma=False,
  )((query, positions, key, value, intervals, arrays))


def attend_shard(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b n g d"],
  value: Float[Array, "b n g e"],
  score: Float[Array, "b g n"],
  *,
  width: int,
  axis: str,
  bias: Float[Array, "b g n"] | None = None,
  valid: Bool[Array, "b n"] | None = None,
  segments: Int[Array, "b n"] | None = None,
  recent: int = 0,
  scale: float | None = None,
  chunk: int | None = None,
  backend: str = "auto",
  is_deterministic: bool = False,
) -> Attended:
  """Dynamic mask attention of one shard's n tokens, for use under `jax.shard_map`.

  Each query sees the last `recent` keys in the whole sequence and, of those before, the
  `width` of greatest score, the latest among equals. Constant scores are a sliding
  window. Give `jax.shard_map` the argument `check_vma=False`.

  Args:
    score: the higher, the longer kept; compared in float32. No gradient.
    width: how many keys a query keeps, at most; it may be more than n, or 0 where
      there are `recent` ones: a window, in which padding takes its place.
    recent: keys up to a query's own that it sees whatever their scores.
    axis: of the mesh, over which the sequence is sharded, in order.
    bias: added to a key's scores of attention, float32, with gradient.
    valid: False for padding, which is never kept.
    segments: runs of equal numbers, which may go on in the next shard; keys compete
      and are seen inside their run only.
    scale: of the products; None for d^-1/2.
    chunk: as in `interval_attention`, and so backend and is_deterministic.

  Raises:
    ValueError: a width below 1, a negative `recent`, or as `interval_attention`.
  """
  if width < min(1, 1 - recent):
    raise ValueError(f"width = {width} lets a query keep nothing; give at least 1.")
  check_recent(recent)
  b, n, g = key.shape[:3]
  run = jnp.zeros((b, n), jnp.int32)
  if segments is not None:
    run = _number_runs(segments, axis)
  own = _own_keys(key, value, score, bias, valid)
  near = _last_before(own, run, recent - 1, axis)
  kept = _keep_before(own, run, width, axis, near.score.shape[-1])
  all_keys = jax.tree.map(lambda *x: jnp.concatenate(x, axis=2), kept, near, own)
  m = all_keys.score.shape[-1]
  which = {  # each head's own padding: heads are rows
    "valid": all_keys.live.reshape(b * g, m),
    "segments": None,
  }
  if segments is not None:
    run = jnp.concatenate([jnp.repeat(run[:, :1], m - n, axis=1), run], axis=1)  # b m
    which["segments"] = jnp.repeat(run, g, axis=0)
  end = start = jnp.arange(m, dtype=jnp.int32)[None, None]
  if width:
    end = eviction_times(all_keys.score.reshape(b * g, 1, m), width, **which)
  end = jnp.broadcast_to(end, (b * g, 1, m))
  end = keep_recent(end, recent, **which).reshape(b, g, m)
  return interval_attention(
    query,
    all_keys.key.swapaxes(1, 2),
    all_keys.value.swapaxes(1, 2),
    Intervals(start, end),
    bias=all_keys.bias,
    scale=scale,
    width=width + recent,
    chunk=chunk,
    backend=backend,
    is_deterministic=is_deterministic,
  )


def _own_keys(
  key: Float[Array, "b n g d"],
  value: Float[Array, "b n g e"],
  score: Float[Array, "b g n"],
  bias: Float[Array, "b g n"] | None,
  valid: Bool[Array, "b n"] | None,
) -> Survivors:
  """A shard's keys; of their scores no gradient, and NaN the lowest."""
  score = jax.lax.stop_gradient(score).astype(jnp.float32)
  real = jnp.ones(key.shape[:2], bool) if valid is None else valid
  return Survivors(
    key.swapaxes(1, 2),
    value.swapaxes(1, 2),
    jnp.zeros_like(score) if bias is None else bias.astype(jnp.float32),
    jnp.where(jnp.isnan(score), -jnp.inf, score),
    jnp.broadcast_to(real[:, None], score.shape),
  )


def _last_before(
  own: Survivors, run: Int[Array, "b n"], count: int, axis: str
) -> Survivors:
  """The last `count` keys of all earlier shards, those of other runs dead.

  As many shards back as it takes; where the sequence begins, dead keys fill the place.
  """
  n, shards = run.shape[1], jax.lax.axis_size(axis)
  count = min(max(count, 0), (shards - 1) * n)
  parts = []
  for hop in range(1, -(-count // n) + 1):
    tail = min(count - (hop - 1) * n, n)
    sent = jax.tree.map(lambda x, t=tail: x[:, :, n - t :], own), run[:, n - tail :]
    parts.append(_send(sent, hop, axis))
  empty = jax.tree.map(lambda x: x[:, :, :0], own), run[:, :0]
  near, runs = (
    jax.tree.map(lambda *x, a=a: jnp.concatenate(x, axis=a), *part)
    for a, part in zip((2, 1), zip(empty, *parts[::-1], strict=True), strict=True)
  )
  return near._replace(live=near.live & (runs == run[:, :1])[:, None])


def _keep_before(
  own: Survivors, run: Int[Array, "b n"], width: int, axis: str, gap: int
) -> Survivors:
  """The best `width` keys of the run begun there in all earlier shards.

  Those of the last `gap` positions before this shard are left out.
  """
  if width == 0:
    return jax.tree.map(lambda x: x[:, :, :0], own)
  g, n = own.score.shape[1:]
  goes_on = own.live & (run == run[:, -1:])[:, None]  # the last run alone goes on
  own = own._replace(live=goes_on)
  arrived = jax.lax.all_gather(_best(own, width), axis, axis=2)  # b g shard w d
  last = jax.lax.all_gather(run[:, -1], axis, axis=1)  # b shard
  shards, (hop, part) = jnp.arange(last.shape[1]), divmod(gap, n)
  is_whole = shards < jax.lax.axis_index(axis) - hop - (part > 0)
  counts = is_whole & (last == run[:, :1])  # b shard
  arrived = arrived._replace(live=arrived.live & counts[:, None, :, None])
  before = jax.tree.map(lambda x: x.reshape(x.shape[0], g, -1, *x.shape[4:]), arrived)
  if part:  # the gap begins inside a shard, which sends the best before it
    first = _best(jax.tree.map(lambda x: x[:, :, : n - part], own), width)
    first, last = _send((first, run[:, -1:]), hop + 1, axis)
    first = first._replace(live=first.live & (last == run[:, :1])[:, None])
    before = jax.tree.map(lambda *x: jnp.concatenate(x, axis=2), before, first)
  return _best(before, width)


def _send(tree: Any, hop: int, axis: str) -> Any:
  """What stands so many shards before; zeros where none does."""
  shards = jax.lax.axis_size(axis)
  return jax.lax.ppermute(tree, axis, [(i, i + hop) for i in range(shards - hop)])


def _best(keys: Survivors, width: int) -> Survivors:
  """At most `width` live keys of greatest score, ties to the latest, in their order."""
  latest_first = jax.tree.map(lambda x: x[..., ::-1], (keys.live, keys.score))
  rank = jnp.broadcast_to(jnp.arange(keys.score.shape[-1]), keys.score.shape)[..., ::-1]
  order = jax.lax.sort(
    (~latest_first[0], -latest_first[1], rank), num_keys=2, is_stable=True
  )[2]
  chosen = jnp.sort(order[..., :width], axis=-1)  # b g k

  def take(x: jax.Array) -> jax.Array:
    """Chosen rows of an array of `b g n` or `b g n d`."""
    index = chosen if x.ndim == 3 else chosen[..., None]
    return jnp.take_along_axis(x, index, axis=2)

  return jax.tree.map(take, keys)


def _number_runs(segments: Int[Array, "b n"], axis: str) -> Int[Array, "b n"]:
  """Number of each token's run of equal segments, counted from the first shard on."""
  changes = segments[:, 1:] != segments[:, :-1]
  local = jnp.pad(jnp.cumsum(changes, axis=1, dtype=jnp.int32), ((0, 0), (1, 0)))
  ends = jnp.stack([segments[:, 0], segments[:, -1], local[:, -1]])  # 3 b
  first, last, count = jax.lax.all_gather(ends, axis, axis=2)  # b shard
  joint = jnp.pad(first[:, 1:] != last[:, :-1], ((0, 0), (1, 0)))  # b shard
  before = jnp.cumsum(count + joint, axis=1) - count  # b shard
  return local + before[:, jax.lax.axis_index(axis), None]
