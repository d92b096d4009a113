"""Sliding-window attention: each token sees the last w, itself included.

Source: *Longformer: The Long-Document Transformer*, Beltagy et al., 2020, section 3.1;
*Mistral 7B*, 2023, section 2 (the cache as a ring).
Differences:
  - padding takes a place of the window, though no token sees it.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.kernels.intervals import Intervals
from mdm.nn.mixers.base import (
  Mixer,
  Place,
  check_fits,
  check_positive,
  empty_pairs,
)
from mdm.nn.rotary import KeyValue


class Ring(NamedTuple):
  """The last w tokens; the one at position p lies in slot p mod w."""

  pairs: KeyValue
  position: Int[Array, "b w"]


class WindowAttention(Mixer):
  """Softmax attention to exactly the positions i - window + 1, ..., i.

  Its cache has `window` slots, however long the sequence is. Tokens cannot be taken
  back, since they replace others: keep the cache of before for that.
  """

  window: int = 512

  def init_cache(self, batch: int, length: int, width: int | None = None) -> Ring:
    """An empty ring; see `Mixer.init_cache`."""
    check_positive(window=self.window)
    _, g, k = self._sizes(width)
    slots = min(self.window, length)
    pairs = empty_pairs((batch, slots, g, k), self.dtype)
    return Ring(pairs, jnp.full((batch, slots), -1, jnp.int32))

  @nn.compact
  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Ring | None
  ) -> tuple[Float[Array, "b n d"], Ring | None]:
    check_positive(window=self.window)
    query, pairs = self._project(x, place)
    if cache is None or place.is_beginning:
      mixed = self._attend_near(query, pairs, place, self.window)
    else:
      seen = join_ring(cache, pairs, place)
      start = seen.position[:, None]  # b 1 w+n
      end = jnp.where(start < 0, 0, start + self.window)
      mixed = self._attend(
        query, seen.pairs, Intervals(start, end), positions=place.rows
      ).out
    if cache is not None:
      cache = turn_ring(cache, pairs, place, self.window)
    return self._out(mixed, x.shape[-1]), cache


def join_ring(ring: Ring, new: KeyValue, place: Place) -> Ring:
  """The slots of the ring, and new tokens after them."""
  b, n = new.key.shape[:2]
  key, value = (
    jnp.concatenate([old, now.astype(old.dtype)], axis=1)
    for old, now in zip(ring.pairs, new, strict=True)
  )  # b w+n g k
  position = jnp.broadcast_to(place.rows, (b, n))
  if place.valid is not None:
    position = jnp.where(place.valid, position, -1)
  return Ring(KeyValue(key, value), jnp.concatenate([ring.position, position], axis=1))


def turn_ring(ring: Ring, new: KeyValue, place: Place, window: int) -> Ring:
  """The ring with the last of the new tokens in their slots.

  Raises:
    ValueError: a ring made for short sequences, and tokens beyond its length.
  """
  slots, n = ring.position.shape[1], new.key.shape[1]
  if slots < window:
    check_fits(n, place.start, slots)
  if place.is_beginning:
    return _begin_ring(ring, new, place)
  last = min(n, slots)
  slot = place.rows[n - last :] % slots  # last
  joined = join_ring(ring, new, place)
  key, value = (
    old.at[:, slot].set(now[:, -last:])
    for old, now in zip(ring.pairs, joined.pairs, strict=True)
  )
  position = ring.position.at[:, slot].set(joined.position[:, -last:])
  return Ring(KeyValue(key, value), position)


def _begin_ring(ring: Ring, new: KeyValue, place: Place) -> Ring:
  """The last tokens up to the last real one, each in its slot."""
  slots, last = ring.position.shape[1], place.real_length - 1
  token = last - (last - jnp.arange(slots)) % slots  # w; negative: none
  joined = join_ring(ring, new, place)
  key, value, position = (
    x[:, slots + jnp.maximum(token, 0)] for x in (*joined.pairs, joined.position)
  )
  return Ring(KeyValue(key, value), jnp.where(token < 0, -1, position))
