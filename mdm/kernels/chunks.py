"""Chunk compaction: per chunk of queries, the few keys that any of them can see.

A chunk of C queries sees its own C keys and those from before that its first row still
sees: at most `width`. Each of these keeps one of `width` slots from the chunk after its
own until it leaves. So the slots of a chunk are those of the chunk before with some
keys replaced by keys of that chunk, and gradients go back the same way.

Source: ours; *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, skips tiles
instead, which finds next to no empty tile where the kept keys are scattered.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from mdm.kernels.eviction import Own, best_before, match_places


class Slots(NamedTuple):
  """Who is carried into each chunk.

  Attributes:
    carried: the key in each slot when the chunk begins; -1 for an empty slot.
    order: of the carried keys in a tile, as numbers of slots; None for that of slots.
  """

  carried: Int[Array, "b g c w"]
  order: Int[Array, "b g c w"] | None = None


def assign_slots(end: Int[Array, "b g m"], width: int, chunk: int) -> Slots:
  """Slots of every chunk, from the time each key leaves, by a scan over chunks.

  Args:
    end: the first position that no longer sees the key; m divides into chunks. At most
      `width` keys may be visible at once, which is not checked.
  """
  b, g, m = end.shape
  own_end = jnp.moveaxis(end.reshape(b, g, -1, chunk), 2, 0)  # c b g r
  first = jnp.arange(0, m, chunk, dtype=jnp.int32)  # c
  empty = jnp.full((b, g, width), -1, jnp.int32)

  def step(
    carry: tuple[jax.Array, jax.Array], own: tuple[jax.Array, jax.Array]
  ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Frees the slots of keys that leave before the next chunk, and fills them."""
    carried, carried_end = carry  # b g w
    own_end, first = own  # b g r
    is_free = carried_end <= first + chunk
    stays = own_end > first + chunk
    taken = match_places(is_free, stays)  # b g w
    new = jnp.where(taken < 0, -1, first + taken)
    new_end = jnp.take_along_axis(own_end, jnp.maximum(taken, 0), axis=-1)
    after = jnp.where(is_free, new, carried)
    after_end = jnp.where(is_free, jnp.where(taken < 0, -1, new_end), carried_end)
    return (after, after_end), carried

  _, carried = jax.lax.scan(step, (empty, empty), (own_end, first))
  return Slots(jnp.moveaxis(carried, 0, 2))


def assign_sorted(end: Int[Array, "b g m"], width: int, chunk: int) -> Slots:
  """`assign_slots` with the keys that leave last first, so that those seen are a run.

  All chunks at once: who is still seen has left later than all who are not, so the
  carried keys are among the `width` that leave last, as the best keys are in
  `eviction.py`. Keys do not stay in one slot.
  """
  b, g, m = end.shape
  position = jnp.arange(m, dtype=jnp.int32).reshape(-1, 1, 1, chunk)
  own_end = jnp.moveaxis(end.reshape(b, g, -1, chunk), 2, 0)  # c b g r
  position = jnp.broadcast_to(position, own_end.shape)
  kept = best_before(Own(own_end, position, jnp.zeros_like(position)), width)
  carried = jnp.where(kept.score > position[..., :1], kept.position, -1)
  return Slots(jnp.moveaxis(carried, 0, 2))


def sort_slots(slots: Slots, end: Int[Array, "b g m"]) -> Slots:
  """Puts the carried keys that leave last first in tiles; slots stay as they are."""
  carried_end = jnp.where(slots.carried < 0, 0, _take(end, slots.carried))
  return slots._replace(order=jnp.argsort(-carried_end, axis=-1).astype(jnp.int32))


def number_keys(slots: Slots, chunk: int) -> Int[Array, "b g c k"]:
  """The numbers of each chunk's keys: those carried, -1 for none, then its own."""
  carried = _ordered(slots)
  own = jnp.arange(carried.shape[2] * chunk, dtype=jnp.int32).reshape(-1, chunk)
  own = jnp.broadcast_to(own, (*carried.shape[:3], chunk))
  return jnp.concatenate([carried, own], axis=-1)


def _take(
  x: Num[Array, "b g m *d"], index: Int[Array, "b g c w"]
) -> Num[Array, "b g c w *d"]:
  """Rows by number; any row for a negative one."""
  b, g, c, w = index.shape
  flat = jnp.maximum(index, 0).reshape(b, g, c * w, *[1] * (x.ndim - 3))
  return jnp.take_along_axis(x, flat, axis=2).reshape(b, g, c, w, *x.shape[3:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def gather_keys(
  x: Num[Array, "b g m *d"], slots: Slots, is_deterministic: bool
) -> Num[Array, "b g c k *d"]:
  """The rows of each chunk's keys: those carried, then its own (k = w + chunk).

  Empty slots get row 0. Gradients are summed in float32: by a scatter-add, or by a scan
  over chunks, from the last, that adds in a fixed order.
  """
  c = slots.carried.shape[2]
  own = x.reshape(*x.shape[:2], c, -1, *x.shape[3:])
  return jnp.concatenate([_take(x, _ordered(slots)), own], axis=3)


def _ordered(slots: Slots) -> Int[Array, "b g c w"]:
  """The carried keys as they lie in a tile."""
  if slots.order is None:
    return slots.carried
  return jnp.take_along_axis(slots.carried, slots.order, axis=-1)


def _gather_forward(
  x: Num[Array, "b g m *d"], slots: Slots, is_deterministic: bool
) -> tuple[Num[Array, "b g c k *d"], Slots]:
  return gather_keys(x, slots, is_deterministic), slots


def _gather_backward(
  is_deterministic: bool, slots: Slots, cotangent: Float[Array, "b g c k *d"]
) -> tuple[Float[Array, "b g m *d"], None]:
  add = _add_in_order if is_deterministic else _scatter_add
  return add(cotangent.astype(jnp.float32), slots).astype(cotangent.dtype), None


gather_keys.defvjp(_gather_forward, _gather_backward)


def _scatter_add(
  cotangent: Float[Array, "b g c k *d"], slots: Slots
) -> Float[Array, "b g m *d"]:
  b, g, _, w = slots.carried.shape
  tail = cotangent.shape[4:]
  own = cotangent[:, :, :, w:].reshape(b, g, -1, *tail)
  carried = cotangent[:, :, :, :w].reshape(b, g, -1, *tail)
  index = _ordered(slots).reshape(b, g, -1)
  return _add_rows(own, jnp.where(index < 0, own.shape[2], index), carried)


def _add_rows(
  x: Float[Array, "b g m *d"],
  index: Int[Array, "b g k"],
  rows: Float[Array, "b g k *d"],
  unique_indices: bool = False,
) -> Float[Array, "b g m *d"]:
  """Adds rows where they belong; those past the last are dropped."""

  def add(x: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    """Of one head."""
    return x.at[index].add(rows, mode="drop", unique_indices=unique_indices)

  return jax.vmap(jax.vmap(add))(x, index, rows)


def _add_in_order(
  cotangent: Float[Array, "b g c k *d"], slots: Slots
) -> Float[Array, "b g m *d"]:
  """Gradients of slots flow back in time until the chunk where their key is own."""
  b, g, c, w = slots.carried.shape
  m, tail = c * (cotangent.shape[3] - w), cotangent.shape[4:]
  if slots.order is not None:
    place = jnp.argsort(slots.order, axis=-1).reshape(b, g, c, w, *[1] * len(tail))
    carried = jnp.take_along_axis(cotangent[:, :, :, :w], place, axis=3)
    cotangent = jnp.concatenate([carried, cotangent[:, :, :, w:]], axis=3)
  first = jnp.arange(c, dtype=jnp.int32) * (cotangent.shape[3] - w)
  after = jnp.roll(slots.carried, -1, axis=2).at[:, :, -1].set(-1)
  is_own = after >= first[:, None]
  is_kept = (after >= 0) & ~is_own  # b g c w
  number = jnp.where(is_own, after - first[:, None], m)  # among the chunk's own keys
  chunks = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), (cotangent, is_kept, number))

  def step(
    later: Float[Array, "b g w *d"], own: tuple[jax.Array, jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    """One chunk: what its slots hand back, and its own keys' whole gradients."""
    cotangent, is_kept, number = own
    is_kept = is_kept.reshape(*is_kept.shape, *[1] * len(tail))
    gradient = _add_rows(cotangent[:, :, w:], number, later, unique_indices=True)
    return cotangent[:, :, :w] + jnp.where(is_kept, later, 0), gradient

  zeros = jnp.zeros((b, g, w, *tail), cotangent.dtype)
  _, own = jax.lax.scan(step, zeros, chunks, reverse=True)
  return jnp.moveaxis(own, 0, 2).reshape(b, g, m, *tail)
