"""Attention under a mask of one interval per key, linear in length where it is sparse.

  s_ij = scale <q_i, k_j> + bias_j where start_j <= i < end_j;  o_i = softmax(s_i) v

With `width` (no query sees more than that many keys, none from the future) the sequence
is cut into chunks: each attends to at most `width` keys that are still visible when it
begins, gathered side by side, and to its own. Cost n (width + chunk), no n x n array.

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, for the biased,
masked attention; chunks of gathered keys are ours.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.kernels import reference
from mdm.kernels.intervals import Intervals
from mdm.kernels.tiles import Saved, Tiles

BACKENDS = ("auto", "reference", "xla", "tpu", "gpu")


class Attended(NamedTuple):
  """The mixed values, and the logarithm of each query's sum (+inf: saw nothing)."""

  out: Float[Array, "b n h e"]
  lse: Float[Array, "b n h"]


def interval_attention(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b m g d"],
  value: Float[Array, "b m g e"],
  intervals: Intervals,
  *,
  bias: Float[Array, "#b #g m"] | None = None,
  positions: Int[Array, "n"] | None = None,
  scale: float | None = None,
  width: int | None = None,
  chunk: int | None = None,
  backend: str = "auto",
  is_deterministic: bool = False,
) -> Attended:
  """Mixes values of the visible keys, scores and softmax in float32.

  Each of g heads of keys and values serves h / g consecutive heads of queries.

  Args:
    bias: added to a key's scores, float32, with gradient.
    positions: of the queries, rising; None: they are the last n of the m positions.
    scale: of the products; None for d^-1/2.
    width: a promise: no query sees more than `width` keys, none later than itself.
      None for any mask, at the cost of n m.
    chunk: queries that share their gathered keys; None for the best here.
    backend: "reference", "xla", "tpu", "gpu", or "auto" for the fastest here.
    is_deterministic: sums gradients in a fixed order.

  Raises:
    ValueError: heads that do not divide, width or chunk out of range, a backend that
      is not on this machine.
  """
  b, n, h, d = query.shape
  m, g = key.shape[1:3]
  tiles = Tiles(
    query.reshape(b, n, g, h // g, d).swapaxes(1, 2).reshape(b * g, -1, d),
    *(x.swapaxes(1, 2).reshape(b * g, m, -1) for x in (key, value)),
    *(
      jnp.broadcast_to(x, (b, g, m)).reshape(b * g, m)
      for x in (jnp.zeros((1, 1, m)) if bias is None else bias, *intervals)
    ),
    jnp.broadcast_to(
      jnp.repeat(jnp.arange(m - n, m) if positions is None else positions, h // g),
      (b * g, n * h // g),
    ).astype(jnp.int32),
  )
  out, lse = attend_tiles(tiles, d**-0.5 if scale is None else scale)
  out = out.reshape(b, g, n, h // g, -1).swapaxes(1, 2).reshape(b, n, h, -1)
  return Attended(out, lse.reshape(b, g, n, h // g).swapaxes(1, 2).reshape(b, n, h))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def attend_tiles(
  tiles: Tiles, scale: float
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """`forward` of a backend, with its `backward` as derivative."""
  return reference.forward(tiles, scale)


def _attend_forward(tiles: Tiles, scale: float):  # noqa: ANN202
  out, lse = attend_tiles(tiles, scale)
  return (out, lse), (tiles, out, lse)


def _attend_backward(scale: float, kept, cotangents):  # noqa: ANN001, ANN202
  tiles, out, lse = kept
  d_out, d_lse = cotangents
  delta = (out.astype(jnp.float32) * d_out.astype(jnp.float32)).sum(-1) - d_lse
  grads = reference.backward(tiles, scale, Saved(lse, d_out, delta))
  return (Tiles(*grads, None, None, None),)


attend_tiles.defvjp(_attend_forward, _attend_backward)
