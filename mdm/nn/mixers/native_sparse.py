"""Native sparse attention: block means, the blocks they point to, and a window.

  o = g1 o_compressed + g2 o_selected + g3 o_window,   g = sigmoid(x Wg) for each head

The first branch attends to the means of blocks; what its softmax gives to them, summed
over the heads of a group, ranks the blocks whose tokens the second attends to; the
third sees the last tokens. All share queries, keys and values. The choice of blocks has
no gradient: importance is learned through the first branch alone.

Source: *Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse
Attention*, Yuan et al., 2025, section 3 and figure 2; and the public implementation in
flash-linear-attention, which shares keys and values and compresses by the mean.
Differences:
  - blocks are compressed by the mean; the paper learns a map of their tokens.
  - keys are rotated before they are averaged, as in the public implementation.
  - of further forced blocks (the paper: the first and two local ones) the default has
    the query's own only; set `num_local` and `keeps_first`.
  - segments equal separate sequences where they begin at multiples of `stride` and
    `select_block`; elsewhere a block across a border is not compressed for anyone.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.kernels.intervals import Intervals, segment_intervals
from mdm.nn.mixers import blocks
from mdm.nn.mixers.base import (
  Mixer,
  Place,
  Stored,
  check_fits,
  check_positive,
  empty_store,
  store,
  write,
)
from mdm.nn.mixers.blocks import Asked, Grid, Means, Runs
from mdm.nn.rotary import KeyValue


class Memory(NamedTuple):
  """All tokens so far, and the means of their blocks."""

  stored: Stored
  means: Means


class NativeSparseAttention(Mixer):
  """Attention to block means, selected blocks and a window, added with gates.

  Parameters, beside `Mixer`'s: `gate`. A query reads at most n / stride + num_blocks
  select_block + window keys. The cache grows with the length; tokens may be taken back:
  extend again from an earlier start.

  Attributes:
    block: tokens of a compressed block; a multiple of the stride.
    stride: tokens from one compressed block to the next.
    select_block: tokens of a block that is selected; a multiple of the stride.
    num_blocks: blocks that a query selects.
    window: tokens of the third branch.
    num_local: of the selected, how many are the query's own block and those before.
    keeps_first: whether the first block is always selected.
  """

  block: int = 32
  stride: int = 16
  select_block: int = 64
  num_blocks: int = 16
  window: int = 512
  num_local: int = 1
  keeps_first: bool = False

  def init_cache(self, batch: int, length: int, width: int | None = None) -> Memory:
    """Room for `length` tokens and their blocks; see `Mixer.init_cache`."""
    self._grid()
    sizes = self._sizes(width)
    count = -(-length // self.stride)
    return Memory(
      empty_store(batch, length, sizes, self.dtype),
      Means(*empty_store(batch, count, sizes, self.dtype)),
    )

  @nn.compact
  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Memory | None
  ) -> tuple[Float[Array, "b n d"], Memory | None]:
    grid = self._grid()
    query, pairs = self._project(x, place)
    gates = self._gates(x)
    if cache is None or place.is_beginning:
      memory = self._remember(pairs, place, grid)
      runs = self._runs(place)
      local = self._attend_near(query, pairs, place, self.window)
      if cache is not None:
        check_fits(x.shape[1], place.start, cache.stored.valid.shape[1])
        cache = jax.tree.map(lambda old, new: write(old, new, 0), cache, memory)
    else:
      memory = cache = self._append(cache, pairs, place, grid)
      m = cache.stored.valid.shape[1]
      runs = Runs(blocks.whole_runs(x.shape[1]).first, blocks.whole_runs(m).stop)
      near = self._nearby(cache.stored, place)
      local = self._attend(query, *near, positions=place.rows).out
    intervals = blocks.block_intervals(memory.means.valid, runs.stop, grid)
    coarse, lse = self._attend(
      query, memory.means.pairs, intervals, positions=place.rows
    )
    asked = Asked(query, place.rows, lse, runs.first)
    fine = blocks.attend_selected(asked, *memory, runs.stop, grid, self.backend)
    g1, g2, g3 = jnp.split(gates, 3, axis=-1)  # b n h 1
    return self._out(g1 * coarse + g2 * fine + g3 * local, x.shape[-1]), cache

  def _gates(self, x: Float[Array, "b n d"]) -> Float[Array, "b n h 3"]:
    """How much of each branch each head takes."""
    gates = self._linear((self.heads, 3), ("embed", "heads", None), "gate")(x)
    return jax.nn.sigmoid(gates.astype(jnp.float32)).astype(self.dtype)

  def _remember(self, pairs: KeyValue, place: Place, grid: Grid) -> Memory:
    """The memory of a whole sequence."""
    shape = pairs.key.shape[:2]
    valid = jnp.ones(shape, bool) if place.valid is None else place.valid
    stored = Stored(pairs, valid)
    return Memory(stored, blocks.compress(stored, grid))

  def _append(self, cache: Memory, pairs: KeyValue, place: Place, grid: Grid) -> Memory:
    """The memory with new tokens, and with the means of all blocks that have them."""
    n, start = pairs.key.shape[1], jnp.asarray(place.start)
    stored = store(cache.stored, pairs, place)
    count = (n + self.block - 2) // self.stride + 1
    first = jnp.maximum(-(-(start - self.block + 1) // self.stride), 0)
    token = first * self.stride + jnp.arange((count - 1) * self.stride + self.block)
    some = jax.tree.map(
      lambda x: jnp.take(x, token, axis=1, mode="fill", fill_value=0), stored
    )
    new = jax.tree.map(lambda x: x[:, :count], blocks.compress(some, grid))
    number = first + jnp.arange(count)
    means = jax.tree.map(
      lambda old, now: old.at[:, number].set(now.astype(old.dtype), mode="drop"),
      cache.means,
      new,
    )
    return Memory(stored, means)

  def _nearby(self, stored: Stored, place: Place) -> tuple[KeyValue, Intervals]:
    """The stored tokens that new ones see through the window, and by whom."""
    token = place.rows[0] + 1 - self.window
    token = token + jnp.arange(self.window - 1 + place.rows.shape[0])
    index = jnp.maximum(token, 0)
    pairs = jax.tree.map(lambda x: x[:, index], stored.pairs)
    is_there = (token >= 0) & stored.valid[:, index]  # b window-1+n
    end = jnp.where(is_there, token + self.window, 0)
    return pairs, Intervals(index[None, None], end[:, None])

  def _runs(self, place: Place) -> Runs:
    """Where the segments of whole sequences begin and end."""
    if place.segments is None:
      return blocks.whole_runs(place.rows.shape[0])
    start, end = segment_intervals(place.segments)  # b 1 n
    return Runs(start[:, 0], end[:, 0])

  def _grid(self) -> Grid:
    """The checked settings of the blocks."""
    check_positive(
      block=self.block,
      stride=self.stride,
      select_block=self.select_block,
      num_blocks=self.num_blocks,
      window=self.window,
      num_local=self.num_local,
    )
    if self.block % self.stride or self.select_block % self.stride:
      raise ValueError(
        f"stride = {self.stride} must divide block = {self.block} and select_block = "
        f"{self.select_block}; change one of them."
      )
    return Grid(
      *(self.block, self.stride, self.select_block),
      *(self.num_blocks, self.num_local, self.keeps_first),
    )
