"""Masks of attention as one interval per key: which queries see it, in O(m) storage.

Key j is visible to the query at position i if and only if start_j <= i < end_j. Causal,
window, prefix, packed and dynamic masks are all of this kind, and so is what several of
them allow together.

Source: section 4 of *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, has
the dynamic mask as n x n; the interval form is ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

MAX_LENGTH = 2**31 - 2**16  # positions, and what pads them, fit int32


class Intervals(NamedTuple):
  """The first query position that sees each key, and the first that no longer does."""

  start: Int[Array, "#b #g m"]
  end: Int[Array, "#b #g m"]


def all_intervals(m: int, num_queries: int) -> Intervals:
  """Every key is seen by every query at positions 0..num_queries - 1."""
  zeros = jnp.zeros((1, 1, m), jnp.int32)
  return Intervals(zeros, zeros + num_queries)


def causal_intervals(m: int) -> Intervals:
  """Each key is seen by its own position and all later ones."""
  positions = jnp.arange(m, dtype=jnp.int32)[None, None]  # 1 1 m
  return Intervals(positions, jnp.full_like(positions, m))


def window_intervals(m: int, width: int) -> Intervals:
  """Each query sees the last `width` keys, its own included.

  Raises:
    ValueError: a width below 1.
  """
  if width < 1:
    raise ValueError(f"width = {width} lets a query see nothing; give at least 1.")
  positions = jnp.arange(m, dtype=jnp.int32)[None, None]  # 1 1 m
  return Intervals(positions, jnp.minimum(positions + width, m))


def prefix_intervals(m: int, prefix: Int[Array, "b"]) -> Intervals:
  """The first `prefix` keys of each row are seen by all, the others causally."""
  positions = jnp.arange(m, dtype=jnp.int32)[None, None]  # 1 1 m
  start = jnp.where(positions < prefix[:, None, None], 0, positions)  # b 1 m
  return Intervals(start, jnp.full_like(start, m))


def segment_intervals(segments: Int[Array, "b m"]) -> Intervals:
  """Each key is seen inside its own run of equal segment numbers only.

  Raises:
    ValueError: a number that comes back after another one, where it is known already.
  """
  check_segments(segments)
  m = segments.shape[1]
  positions = jnp.arange(m, dtype=jnp.int32)
  is_first = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)))  # b m
  is_first = is_first.at[:, 0].set(True)
  start = jax.lax.cummax(jnp.where(is_first, positions, 0), axis=1)
  is_last = jnp.roll(is_first, -1, axis=1)
  end = jax.lax.cummin(jnp.where(is_last, positions + 1, m), axis=1, reverse=True)
  return Intervals(start[:, None], end[:, None])  # b 1 m


def valid_intervals(valid: Bool[Array, "b m"], num_queries: int) -> Intervals:
  """Keys that are padding are seen by no query."""
  end = jnp.where(valid, num_queries, 0).astype(jnp.int32)[:, None]  # b 1 m
  return Intervals(jnp.zeros_like(end), end)


def intersect(*intervals: Intervals) -> Intervals:
  """What all of them allow."""
  start, end = intervals[0]
  for other in intervals[1:]:
    start, end = jnp.maximum(start, other.start), jnp.minimum(end, other.end)
  return Intervals(start, end)


def dense_mask(
  intervals: Intervals, position: Int[Array, "*n"]
) -> Bool[Array, "b g *n m"]:
  """True where the query at `position` sees the key: the whole mask, for reading."""
  start, end = (x[:, :, None] for x in intervals)  # b g 1 m
  return (start <= position[:, None]) & (position[:, None] < end)


def check_length(length: int) -> None:
  """Raises ValueError where positions do not fit int32."""
  if length > MAX_LENGTH:
    raise ValueError(
      f"{length} positions do not fit int32; shard the sequence into pieces of at most "
      f"{MAX_LENGTH}."
    )


def check_segments(segments: Int[Array, "b m"]) -> None:
  """Raises ValueError where a segment is in two pieces, if the numbers are known."""
  if isinstance(segments, jax.core.Tracer):
    return
  for row, numbers in enumerate(np.asarray(segments)):
    runs = numbers[np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))]
    if len(runs) != len(np.unique(runs)):
      again = next(n for n in runs if (runs == n).sum() > 1)
      raise ValueError(
        f"segment {again} of row {row} is in several pieces; pack each document as one "
        "run of tokens."
      )
