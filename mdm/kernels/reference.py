"""The readable backend: every score of a tile at once."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm.kernels.tiles import Saved, TileGradients, Tiles


def forward(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32."""
  score, visible = _scores(tiles, scale)  # t r m
  highest = jnp.max(score, axis=-1, initial=jnp.finfo(jnp.float32).min)  # t r
  part = jnp.where(visible, jnp.exp(score - highest[..., None]), 0.0)
  total = part.sum(axis=-1)  # t r
  sees = total > 0
  share = part / jnp.where(sees, total, 1.0)[..., None]
  out = jnp.einsum("trm,tme->tre", share.astype(tiles.value.dtype), tiles.value)
  lse = jnp.where(sees, highest + jnp.log(jnp.where(sees, total, 1.0)), jnp.inf)
  return out, lse


def backward(tiles: Tiles, scale: float, saved: Saved) -> TileGradients:
  """Gradients from the saved sums: p = exp(s - lse), ds = p (<d_out, v> - delta)."""
  score, visible = _scores(tiles, scale)  # t r m
  share = jnp.where(visible, jnp.exp(score - saved.lse[..., None]), 0.0)
  d_out = saved.d_out.astype(jnp.float32)
  query, key, value = (
    x.astype(jnp.float32) for x in (tiles.query, tiles.key, tiles.value)
  )
  d_share = jnp.einsum("tre,tme->trm", d_out, value)
  d_score = share * (d_share - saved.delta[..., None])
  return TileGradients(
    (scale * jnp.einsum("trm,tmd->trd", d_score, key)).astype(tiles.query.dtype),
    (scale * jnp.einsum("trm,trd->tmd", d_score, query)).astype(tiles.key.dtype),
    jnp.einsum("trm,tre->tme", share, d_out).astype(tiles.value.dtype),
    d_score.sum(axis=-2),
  )


def _scores(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r m"], Bool[Array, "t r m"]]:
  score = scale * jnp.einsum(
    "trd,tmd->trm", tiles.query, tiles.key, preferred_element_type=jnp.float32
  )
  position = tiles.position[..., None]  # t r 1
  visible = (tiles.start[:, None] <= position) & (position < tiles.end[:, None])
  return jnp.where(visible, score + tiles.bias[:, None], -jnp.inf), visible
