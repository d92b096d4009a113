"""When each key leaves the kept set: a dynamic mask in one integer per key.

A query at i keeps the `width` keys j <= i of greatest score, ties won by the latest.
Scores do not depend on the query, so a key that has left never returns: it is visible
to the queries j <= i < e_j, with

  e_j = min{ i >= j : #{m <= i : m beats j} >= width },  n if there is none.

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, equation of the
dynamic mask (causal first, then top-w, as in the authors' model code); the eviction
times are ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Keys(NamedTuple):
  """Competitors: their scores, positions, runs, and whether they are real."""

  score: Float[Array, "b g m"]
  position: Int[Array, "b g m"]
  run: Int[Array, "b g m"]
  live: Bool[Array, "b g m"]


def eviction_times(
  score: Float[Array, "b g n"],
  width: int,
  *,
  valid: Bool[Array, "b n"] | None = None,
  segments: Int[Array, "b n"] | None = None,
  chunk: int = 256,
) -> Int[Array, "b g n"]:
  """The first query position at which each key is no longer kept; n for never.

  Args:
    score: the higher, the longer kept; compared in float32. No gradient.
    width: how many keys a query keeps, at most.
    valid: False for padding, which is never kept: its time is its position.
    segments: runs of equal numbers; keys compete and are kept inside their run only.
    chunk: positions decided at once; changes no result.

  Raises:
    ValueError: a width below 1.
  """
  if width < 1:
    raise ValueError(f"width = {width} lets a query keep nothing; give at least 1.")
  b, g, n = score.shape
  score = jax.lax.stop_gradient(score).astype(jnp.float32)
  run = jnp.zeros((b, n), jnp.int32)
  if segments is not None:
    change = segments[:, 1:] != segments[:, :-1]  # b n-1
    run = run.at[:, 1:].set(jnp.cumsum(change, axis=1, dtype=jnp.int32))
  live = jnp.ones((b, n), bool) if valid is None else valid
  position = jnp.arange(n, dtype=jnp.int32)
  keys = Keys(
    score,
    *(
      jnp.broadcast_to(x if x.ndim == 1 else x[:, None], score.shape)
      for x in (position, run, live)
    ),
  )
  padding = -n % chunk

  def cut(x: jax.Array) -> jax.Array:
    """Chunks first: c b g chunk."""
    x = jnp.pad(x, ((0, 0), (0, 0), (0, padding)))
    return jnp.moveaxis(x.reshape(b, g, -1, chunk), 2, 0)

  own = jax.tree.map(cut, keys)
  own = own._replace(
    position=jnp.arange(n + padding, dtype=jnp.int32).reshape(-1, 1, 1, chunk)
    + jnp.zeros((1, b, g, 1), jnp.int32)
  )
  kept = Keys(*(jnp.zeros((b, g, width), x.dtype) for x in keys))
  end = jnp.full((b, g, n + padding), n, jnp.int32)

  def step(carry, own):  # noqa
    kept, end = carry
    candidates = jax.tree.map(lambda *x: jnp.concatenate(x, -1), kept, own)  # b g w+c
    time, leaves = _decide(kept, own, candidates, width)
    index = jnp.where(leaves, candidates.position, n + padding)
    end = jax.vmap(jax.vmap(lambda e, i, t: e.at[i].set(t, mode="drop")))(
      end, index, time
    )
    stays = candidates.live & ~leaves
    order = jnp.argsort(~stays, axis=-1, stable=True)[..., :width]
    kept = jax.tree.map(
      lambda x: jnp.take_along_axis(x, order, -1), candidates._replace(live=stays)
    )
    return (kept, end), None

  (_, end), _ = jax.lax.scan(step, (kept, end), own)
  end = end[..., :n]
  end = jnp.where(live[:, None], end, position)
  if segments is not None:
    last = jnp.pad(change, ((0, 0), (0, 1)), constant_values=True)
    stop = jax.lax.cummin(jnp.where(last, position + 1, n), axis=1, reverse=True)
    end = jnp.minimum(end, stop[:, None])
  return end


def _decide(kept: Keys, own: Keys, candidates: Keys, width: int):  # noqa
  """Each candidate's eviction time, and whether it comes inside this chunk."""
  base = _beats(kept, candidates).sum(axis=-2)  # b g w+c
  count = base[..., None, :] + jnp.cumsum(_beats(own, candidates), axis=-2)
  is_out = (count >= width) & (
    own.position[..., :, None] >= candidates.position[..., None, :]
  )  # b g c w+c
  row = jnp.argmax(is_out, axis=-2)
  time = jnp.take_along_axis(own.position, row, -1)
  return time, is_out.any(axis=-2) & candidates.live


def _beats(one: Keys, other: Keys) -> Bool[Array, "b g p m"]:
  """Whether each of `one` goes before each of `other` in the queue for a place."""
  one = jax.tree.map(lambda x: x[..., :, None], one)
  other = jax.tree.map(lambda x: x[..., None, :], other)
  later = one.position > other.position
  better = (one.score > other.score) | ((one.score == other.score) & later)
  return one.live & ((one.run > other.run) | ((one.run == other.run) & better))
