"""Attention under a mask of one interval per key, linear in length where it is sparse.

  s_ij = scale <q_i, k_j> + bias_j where start_j <= i < end_j;  o_i = softmax(s_i) v

With `width` (no query sees more than that many keys, none from the future) the sequence
is cut into chunks: each attends to at most `width` keys that are still visible when it
begins, gathered side by side, and to its own. Cost n (width + chunk), no n x n array.

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, for the biased,
masked attention; chunks of gathered keys are ours.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from mdm.kernels import split
from mdm.kernels.dispatch import choose_backend, choose_chunk, load_backend
from mdm.kernels.intervals import Intervals, check_length
from mdm.kernels.layout import chunk_pool, chunk_tiles, unfold, whole_tiles
from mdm.kernels.pool import attend_pool
from mdm.kernels.tiles import Saved, Tiles


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
    width: a promise that is not checked: no query sees a later key, and at no position
      i do more than `width` keys up to it have i < end. None for any mask, at the cost
      of n m; so are `positions`.
    chunk: queries that share their gathered keys, a divisor of n; None for the best
      here, or none where dense attention is no slower. Changes no result.
    backend: "reference", "xla", "tpu", "gpu", or "auto" for the fastest here.
    is_deterministic: sums gradients in a fixed order on any device.

  Raises:
    ValueError: heads that do not divide, a width or chunk out of range, more positions
      than int32 holds, a backend that is not on this machine.
  """
  backend = choose_backend(backend)
  _check(query, key, width, chunk)
  b, n, h, d = query.shape
  m, g = key.shape[1:3]
  scale = d**-0.5 if scale is None else scale
  bias = jnp.zeros((1, 1, m)) if bias is None else bias.astype(jnp.float32)
  arrays = (query, key, value, bias, intervals)
  if width is None or positions is not None:
    chunk = None
  elif chunk is None:
    chunk = choose_chunk(n, width, backend, m)
  if chunk is None or width is None:
    out, lse = attend_tiles(whole_tiles(*arrays, positions), scale, backend)
  elif backend == "xla":
    pool = chunk_pool(*arrays, width=width, chunk=chunk)
    out, lse = attend_pool(pool, scale, is_deterministic)
    out, lse = (x.reshape(-1, *x.shape[2:]) for x in (out, lse))
  else:
    tiles = chunk_tiles(
      *arrays,
      width=width,
      chunk=chunk,
      is_sorted=backend != "reference",
      is_deterministic=is_deterministic,
    )
    out, lse = attend_tiles(tiles, scale, backend)
  return Attended(*(unfold(x, b, n, (h, g)) for x in (out, lse)))


def _check(
  query: jax.Array, key: jax.Array, width: int | None, chunk: int | None
) -> None:
  """Raises ValueError where sizes do not fit each other."""
  n, h = query.shape[1:3]
  m, g = key.shape[1:3]
  if h % g:
    raise ValueError(
      f"{g} heads of keys do not divide {h} heads of queries; give a divisor."
    )
  if width is not None and width < 1:
    raise ValueError(f"width = {width} lets a query see nothing; give at least 1.")
  if width is not None and n > m:
    raise ValueError(
      f"{n} queries are more than {m} keys; with a width each has a key of its own."
    )
  if chunk is not None and (chunk < 1 or n % chunk):
    raise ValueError(
      f"chunk = {chunk} does not divide {n} queries; give a divisor, or None."
    )
  check_length(max(n, m))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def attend_tiles(
  tiles: Tiles, scale: float, backend: str
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """`forward` of a backend, with its `backward` as derivative."""
  return split.over_mesh(lambda x: load_backend(backend).forward(x, scale), tiles)


def _attend_forward(
  tiles: Tiles, scale: float, backend: str
) -> tuple[tuple[jax.Array, jax.Array], tuple[Tiles, jax.Array, jax.Array]]:
  out, lse = attend_tiles(tiles, scale, backend)
  out, lse = checkpoint_name(out, "attention"), checkpoint_name(lse, "attention")
  return (out, lse), (tiles, out, lse)


def _attend_backward(
  scale: float,
  backend: str,
  kept: tuple[Tiles, jax.Array, jax.Array],
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[Tiles]:
  tiles, out, lse = kept
  d_out, d_lse = cotangents
  delta = (out.astype(jnp.float32) * d_out.astype(jnp.float32)).sum(-1) - d_lse
  grads = split.over_mesh(
    lambda x: load_backend(backend).backward(x[0], scale, x[1]),
    (tiles, Saved(lse, d_out, delta)),
  )
  none: Any = None  # JAX's word for the gradient of positions
  query, key, value, bias = grads
  return (Tiles(query, key, value, bias, none, none, none),)


attend_tiles.defvjp(_attend_forward, _attend_backward)
