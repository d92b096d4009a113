"""The backend for any device: blocks of rows one after the other, in plain JAX.

No array is larger than a block of scores, so that memory does not grow with the square
of the length.

Source: *Self-attention Does Not Need O(n^2) Memory*, Rabe and Staats, 2021.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mdm.kernels import reference
from mdm.kernels.tiles import Saved, TileGradients, Tiles

BLOCK = 2**20  # scores at once


def forward(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32."""
  group, rows = _block_shape(tiles)
  t, r = tiles.position.shape
  keys, queries = _cut(tiles, (), group, rows)

  def one_group(block: tuple) -> tuple[jax.Array, jax.Array]:
    """All rows of a few tiles."""
    key, value, bias, start, end = block[0]

    def one_block(rows: tuple) -> tuple[jax.Array, jax.Array]:
      """Some rows of a few tiles."""
      query, position = rows[:2]
      return reference.forward(
        Tiles(query, key, value, bias, start, end, position), scale
      )

    return jax.lax.map(one_block, block[1])

  out, lse = jax.lax.map(one_group, (keys, queries))
  return _join(out, t, r), _join(lse, t, r)


def backward(tiles: Tiles, scale: float, saved: Saved) -> TileGradients:
  """Gradients from the saved sums; those of keys are summed over blocks of rows."""
  group, rows = _block_shape(tiles)
  t, r = tiles.position.shape
  keys, queries = _cut(tiles, saved, group, rows)

  def one_group(block: tuple) -> tuple[jax.Array, tuple]:
    """All rows of a few tiles."""
    key, value, bias, start, end = block[0]

    def one_block(total: tuple, rows: tuple) -> tuple[tuple, jax.Array]:
      """Some rows of a few tiles: adds to the keys' gradients."""
      query, position, *rest = rows
      grads = reference.backward(
        Tiles(query, key, value, bias, start, end, position), scale, Saved(*rest)
      )
      total = jax.tree.map(lambda x, y: x + y.astype(jnp.float32), total, grads[1:])
      return total, grads.query

    zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in (key, value, bias))
    total, query = jax.lax.scan(one_block, zeros, block[1])
    return query, total

  query, (key, value, bias) = jax.lax.map(one_group, (keys, queries))
  key, value, bias = (
    x.reshape(-1, *x.shape[2:])[:t].astype(y.dtype)
    for x, y in ((key, tiles.key), (value, tiles.value), (bias, tiles.bias))
  )
  return TileGradients(_join(query, t, r), key, value, bias)


def _block_shape(tiles: Tiles) -> tuple[int, int]:
  """How many tiles and how many of their rows go at once."""
  t, r = tiles.position.shape
  m = tiles.key.shape[1]
  rows = min(r, max(1, BLOCK // m))
  rows = -(-r // -(-r // rows))
  group = min(t, max(1, BLOCK // (rows * m)))
  return -(-t // -(-t // group)), rows


def _cut(tiles: Tiles, saved: tuple, group: int, rows: int) -> tuple[tuple, tuple]:
  """Keys [groups, group, ...] and rows [groups, blocks, group, rows, ...], padded."""
  t, r = tiles.position.shape

  def cut_rows(x: Shaped[Array, "t r *d"]) -> Shaped[Array, "a i p q *d"]:
    """Pads and cuts."""
    x = jnp.pad(x, ((0, -t % group), (0, -r % rows), *[(0, 0)] * (x.ndim - 2)))
    return x.reshape(-1, group, x.shape[1] // rows, rows, *x.shape[2:]).swapaxes(1, 2)

  def cut_keys(x: Shaped[Array, "t m *d"]) -> Shaped[Array, "a p m *d"]:
    """Pads with keys that are dead."""
    x = jnp.pad(x, ((0, -t % group), *[(0, 0)] * (x.ndim - 1)))
    return x.reshape(-1, group, *x.shape[1:])

  keys = tuple(map(cut_keys, tiles[1:6]))
  queries = (tiles.query, tiles.position, *saved)
  return keys, tuple(map(cut_rows, queries))


def _join(x: Shaped[Array, "a i p q *d"], t: int, r: int) -> Shaped[Array, "t r *d"]:
  """Undoes `_cut` of rows."""
  x = x.swapaxes(1, 2)
  return x.reshape(x.shape[0] * x.shape[1], -1, *x.shape[4:])[:t, :r]
