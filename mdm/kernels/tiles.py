"""What every backend computes: dense attention of small tiles, masked by intervals.

All of `interval_attention` comes down to this. A tile is a set of query rows (the heads
of a group lie side by side: row = position * heads per group + head) and of keys with a
bias and an interval each:

  s_rj = scale <q_r, k_j> + bias_j   where start_j <= position_r < end_j, else -inf
  out_r = sum_j softmax_j(s_rj) v_j,   lse_r = log sum_j exp(s_rj)

in float32. A row that sees nothing has out 0 and lse = +inf, and no gradient. A backend
is a pair of functions `forward(tiles, scale)` and `backward(tiles, scale, saved)`.

Source: *FlashAttention-2*, Dao, 2023, section 3.1 (what is saved, and the gradients).
"""

from typing import NamedTuple

from jaxtyping import Array, Float, Int


class Tiles(NamedTuple):
  """t independent tiles of r rows and m keys; query, key and value of one dtype."""

  query: Float[Array, "t r d"]
  key: Float[Array, "t m d"]
  value: Float[Array, "t m e"]
  bias: Float[Array, "t m"]
  start: Int[Array, "t m"]
  end: Int[Array, "t m"]
  position: Int[Array, "t r"]


class Pool(NamedTuple):
  """Tiles whose keys are rows, by number, of arrays they share; number m is no row.

  p heads share nothing with each other; without that axis, there is one.
  """

  query: Float[Array, "*p t r d"]
  key: Float[Array, "*p m d"]
  value: Float[Array, "*p m e"]
  bias: Float[Array, "*p m"]
  start: Int[Array, "*p m"]
  end: Int[Array, "*p m"]
  position: Int[Array, "*p t r"]
  number: Int[Array, "*p t k"]


class Saved(NamedTuple):
  """What the backward pass gets beside the tiles.

  `delta` is sum_e out * d_out, less the gradient of lse: ds = p * (<d_out, v> - delta).
  """

  lse: Float[Array, "t r"]
  d_out: Float[Array, "t r e"]
  delta: Float[Array, "t r"]


class TileGradients(NamedTuple):
  """Gradients in the dtypes of what they belong to (bias: float32)."""

  query: Float[Array, "t r d"]
  key: Float[Array, "t m d"]
  value: Float[Array, "t m e"]
  bias: Float[Array, "t m"]
