"""The backend for any device: blocks of scores one after the other, in plain JAX.

No array is larger than a few blocks, so memory does not grow with the square of the
length. The backward pass has keys before rows: three of its five products then need
neither side transposed.

Source: *Self-attention Does Not Need O(n^2) Memory*, Rabe and Staats, 2021.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from mdm.kernels.dispatch import target_platform
from mdm.kernels.tiles import Saved, TileGradients, Tiles

SCORES = {"cpu": 3 * 2**17}  # at once: about what a core's cache holds
MORE_SCORES = 2**25  # on other devices, which want larger programs
ROWS = 128  # but no fewer rows, so that products are worth their while


def forward(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32."""
  t, r = tiles.position.shape
  keys, rows = _cut(tiles, ())

  def one_group(block: tuple[tuple, tuple]) -> tuple[jax.Array, jax.Array]:
    """All rows of a few tiles."""
    keys, rows = block
    return jax.lax.map(lambda x: forward_block(_tiles(keys, x), scale), rows)

  out, lse = jax.lax.map(one_group, (keys, rows))
  return _join(out, t, r), _join(lse, t, r)


def backward(tiles: Tiles, scale: float, saved: Saved) -> TileGradients:
  """Gradients from the saved sums; those of keys are summed over blocks of rows."""
  t, r = tiles.position.shape

  def one_group(block: tuple[tuple, tuple]) -> tuple[jax.Array, tuple]:
    """All rows of a few tiles."""
    keys, rows = block

    def one_block(total: tuple, rows: tuple) -> tuple[tuple, jax.Array]:
      """Some rows of a few tiles: adds to the keys' gradients."""
      grads = backward_block(_tiles(keys, rows), scale, Saved(*rows[2:]))
      return tuple(map(jnp.add, total, grads[1:])), grads.query

    zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in keys[:3])
    total, query = jax.lax.scan(one_block, zeros, rows)
    return query, total

  query, keys = jax.lax.map(one_group, _cut(tiles, tuple(saved)))
  key, value, bias = (
    x.reshape(-1, *x.shape[2:])[:t].astype(y.dtype)
    for x, y in zip(keys, (tiles.key, tiles.value, tiles.bias), strict=True)
  )
  return TileGradients(_join(query, t, r).astype(tiles.query.dtype), key, value, bias)


def forward_block(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """`forward` of a few rows of a few tiles at once."""
  score = jnp.einsum(
    "trd,tmd->trm", tiles.query, tiles.key, preferred_element_type=jnp.float32
  )
  position = tiles.position[..., None]  # t r 1
  visible = (tiles.start[:, None] <= position) & (position < tiles.end[:, None])
  score = jnp.where(visible, scale * score + tiles.bias[:, None], -jnp.inf)
  highest = jnp.max(score, axis=-1, initial=jnp.finfo(jnp.float32).min)  # t r
  part = jnp.exp(score - highest[..., None])  # t r m
  total = part.sum(axis=-1)  # t r
  sees = total > 0
  total = jnp.where(sees, total, 1.0)
  out = jnp.einsum(
    "trm,tme->tre",
    part.astype(tiles.value.dtype),
    tiles.value,
    preferred_element_type=jnp.float32,
  )
  out = (out / total[..., None]).astype(tiles.value.dtype)
  return out, jnp.where(sees, highest + jnp.log(total), jnp.inf)


def backward_block(tiles: Tiles, scale: float, saved: Saved) -> TileGradients:
  """`backward` of a few rows of a few tiles at once, in float32."""
  query, key, value, d_out = (
    x.astype(jnp.float32) for x in (tiles.query, tiles.key, tiles.value, saved.d_out)
  )
  query = scale * query
  score = jnp.einsum("tmd,trd->tmr", key, query) + tiles.bias[..., None]
  position = tiles.position[:, None]  # t 1 r
  visible = (tiles.start[..., None] <= position) & (position < tiles.end[..., None])
  share = jnp.where(visible, jnp.exp(score - saved.lse[:, None]), 0.0)  # t m r
  d_share = jnp.einsum("tme,tre->tmr", value, d_out)
  d_score = share * (d_share - saved.delta[:, None])
  return TileGradients(
    scale * jnp.einsum("tmr,tmd->trd", d_score, key),
    jnp.einsum("tmr,trd->tmd", d_score, query),
    jnp.einsum("tmr,tre->tme", share, d_out),
    d_score.sum(axis=-1),
  )


def most_scores() -> int:
  """How many scores a step computes, at most, unless a single tile has more."""
  return SCORES.get(target_platform(), MORE_SCORES)


def _tiles(keys: tuple, rows: tuple) -> Tiles:
  """Some rows of some tiles."""
  key, value, bias, start, end = keys
  query, position, *_ = rows
  return Tiles(query, key, value, bias, start, end, position)


def _cut(tiles: Tiles, more: tuple) -> tuple[tuple, tuple]:
  """Groups of tiles: keys [a p m ...], and blocks of rows [a i p q ...].

  Rows are those of the query, of position and of `more`. Padding sees nothing.
  """
  t, r = tiles.position.shape
  m = tiles.key.shape[1]
  rows = even_parts(r, max(ROWS, most_scores() // m))
  group = even_parts(t, most_scores() // (rows * m))

  def cut_rows(x: Shaped[Array, "t r *d"]) -> Shaped[Array, "a i p q *d"]:
    """Pads and cuts."""
    x = jnp.pad(x, ((0, -t % group), (0, -r % rows), *[(0, 0)] * (x.ndim - 2)))
    return x.reshape(-1, group, x.shape[1] // rows, rows, *x.shape[2:]).swapaxes(1, 2)

  def cut_keys(x: Shaped[Array, "t m *d"]) -> Shaped[Array, "a p m *d"]:
    """Pads with tiles whose keys are dead."""
    x = jnp.pad(x, ((0, -t % group), *[(0, 0)] * (x.ndim - 1)))
    return x.reshape(-1, group, *x.shape[1:])

  keys = (tiles.key, tiles.value, tiles.bias, tiles.start, tiles.end)
  queries = (tiles.query, tiles.position, *more)
  return tuple(map(cut_keys, keys)), tuple(map(cut_rows, queries))


def even_parts(count: int, most: int) -> int:
  """The size of parts, none above `most`: a divisor, unless all are far too small."""
  most = max(1, min(count, most))
  divisor = max(x for x in range(1, most + 1) if count % x == 0)
  parts = -(-count // most)
  return divisor if 4 * divisor >= most else -(-count // parts)


def _join(x: Shaped[Array, "a i p q *d"], t: int, r: int) -> Shaped[Array, "t r *d"]:
  """Undoes `_cut` of rows."""
  x = x.swapaxes(1, 2)
  return x.reshape(x.shape[0] * x.shape[1], -1, *x.shape[4:])[:t, :r]
