"""Multi-head latent attention: keys and values of all heads grow from one short vector.

  c = norm(x Wdkv);  k = [c Wuk, R(x Wkr)];  v = c Wuv          (Wkr: one for all heads)
  c' = norm(x Wdq);  q = [c' Wuq, R(c' Wqr)]
  o_i = sum_j softmax_j(<q_i, k_j> / sqrt(k + r)) v_j

The cache holds c and the rotated key that all heads share. Products with Wuk and Wuv
may be absorbed, since <c' Wuq, c Wuk> = <c' Wuq Wuk^T, c>: all heads then look at the
same keys [c, R(x Wkr)] and values c, and Wuv maps what they mixed. The result is equal.

Source: *DeepSeek-V2*, 2024, section 2.1, equations 9-19, and appendix C; widths as
multiples of the head width are its published ones.
Differences:
  - heads are rotated in half-split form; theirs interleave the pairs.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from mdm.kernels.intervals import Intervals, causal_intervals
from mdm.masks.choices import check_choice
from mdm.nn.layers import RMSNorm, named
from mdm.nn.mixers.base import (
  Mixer,
  Place,
  Sizes,
  check_fits,
  check_positive,
  restrict,
  stored_intervals,
  write,
)
from mdm.nn.rotary import KeyValue

FORMS = ("auto", "naive", "absorbed")


class Latents(NamedTuple):
  """What is kept of a token: its latent, the shared rotated key, whether it is real."""

  latent: Float[Array, "b m c"]
  shared: Float[Array, "b m r"]
  valid: Bool[Array, "b m"]


class Queries(NamedTuple):
  """The two parts of every query: compared with latents, and with shared keys."""

  content: Float[Array, "b n h k"]
  rotary: Float[Array, "b n h r"]


class LatentAttention(Mixer):
  """Dense attention whose cache holds one latent per token for all heads.

  Parameters: `latent`, `latent_norm`, `shared`, `query_latent`, `query_latent_norm`,
  `query`, `query_rotary`, `key_up`, `value_up`, `out`. Tokens may be taken back: extend
  again from an earlier start.

  Attributes:
    kv_width: of the latents c; None for 4 head widths.
    query_width: of the queries' latents; None for 12 head widths.
    rotary_width: of the shared key; None for half a head.
    form: "naive" makes every head's keys and values, "absorbed" never does; "auto" is
      naive for whole sequences and absorbed for what follows a cache.
  """

  kv_width: int | None = None
  query_width: int | None = None
  rotary_width: int | None = None
  form: str = "auto"

  def init_cache(self, batch: int, length: int, width: int | None = None) -> Latents:
    """Room for the latents of `length` tokens; see `Mixer.init_cache`."""
    c, _, r = self._widths(self._sizes(width).k)
    shape = (batch, length)
    return Latents(
      jnp.zeros((*shape, c), self.dtype),
      jnp.zeros((*shape, r), self.dtype),
      jnp.zeros(shape, bool),
    )

  @nn.compact
  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Latents | None
  ) -> tuple[Float[Array, "b n d"], Latents | None]:
    n, width = x.shape[1:]
    sizes = self._sizes(width)
    queries, new = self._project_latents(x, place, sizes)
    if cache is not None:
      check_fits(n, place.start, cache.valid.shape[1])
      cache = jax.tree.map(lambda old, now: write(old, now, place.start), cache, new)
    if cache is None or place.is_beginning:
      intervals = restrict(causal_intervals(n), place)
      mixed = self._mix(queries, new, intervals, place, is_absorbed=False)
    else:
      intervals = stored_intervals(cache.valid)
      mixed = self._mix(queries, cache, intervals, place, is_absorbed=True)
    return self._out(mixed, width), cache

  def _project_latents(
    self, x: Float[Array, "b n d"], place: Place, sizes: Sizes
  ) -> tuple[Queries, Latents]:
    """Every token's queries, and what is kept of it."""
    c, cq, r = self._widths(sizes.k)
    latent = self._linear((c,), ("embed", "kv"), "latent")(x)
    latent = RMSNorm(self.epsilon, axis="kv", name="latent_norm")(latent)  # b n c
    shared = self._linear((r,), ("embed", "kv"), "shared")(x)  # b n r
    shared = self._rotate(shared[:, :, None], place)[:, :, 0]
    low = self._linear((cq,), ("embed", "kv"), "query_latent")(x)
    low = RMSNorm(self.epsilon, axis="kv", name="query_latent_norm")(low)  # b n cq
    axes = (None, "heads", "kv")
    query = self._linear((sizes.h, sizes.k), axes, "query")(low)  # b n h k
    rotary = self._linear((sizes.h, r), axes, "query_rotary")(low)  # b n h r
    valid = jnp.ones(x.shape[:2], bool) if place.valid is None else place.valid
    return Queries(query, self._rotate(rotary, place)), Latents(latent, shared, valid)

  def _mix(
    self,
    queries: Queries,
    seen: Latents,
    intervals: Intervals,
    place: Place,
    *,
    is_absorbed: bool,
  ) -> Float[Array, "b n h k"]:
    """Attention in either form."""
    h, k = queries.content.shape[2:]
    latent, shared = (x.astype(self.dtype) for x in seen[:2])  # b m c, b m r
    key_up = self._up("key_up", (latent.shape[-1], h, k))
    value_up = self._up("value_up", (latent.shape[-1], h, k))
    settings = {
      "positions": place.rows,
      "scale": (k + shared.shape[-1]) ** -0.5,
    }
    if self.form == "absorbed" or (self.form == "auto" and is_absorbed):
      content = jnp.einsum("bnhk,chk->bnhc", queries.content, key_up)
      query = jnp.concatenate([content, queries.rotary], axis=-1)
      key = jnp.concatenate([latent, shared], axis=-1)[:, :, None]  # b m 1 c+r
      pairs = KeyValue(key, latent[:, :, None])
      mixed = self._attend(query, pairs, intervals, **settings).out  # b n h c
      return jnp.einsum("bnhc,chk->bnhk", mixed, value_up)
    query = jnp.concatenate(queries, axis=-1)
    content = jnp.einsum("bmc,chk->bmhk", latent, key_up)
    shared = jnp.broadcast_to(
      shared[:, :, None], (*content.shape[:3], shared.shape[-1])
    )
    key = jnp.concatenate([content, shared], axis=-1)  # b m h k+r
    value = jnp.einsum("bmc,chk->bmhk", latent, value_up)
    return self._attend(query, KeyValue(key, value), intervals, **settings).out

  def _up(self, name: str, shape: tuple[int, int, int]) -> Float[Array, "c h k"]:
    """The map from latents to the heads' keys or values; never with a bias."""

    def init(key: Key[Array, ""], shape: tuple[int, int, int]) -> jax.Array:
      """A kernel that starts like the flattened matrix."""
      c, h, k = shape
      return self.kernel_init(key, (c, h * k), jnp.float32).reshape(shape)

    kernel = self.param(name, named(init, None, "heads", "kv"), shape)
    return kernel.astype(self.dtype)

  def _widths(self, k: int) -> tuple[int, int, int]:
    """Widths of the latents, of the queries' latents, and of the shared key."""
    check_choice("form", self.form, FORMS)
    if self.kv_heads not in (None, self.heads) or self.qk_norm:
      raise ValueError(
        f"kv_heads = {self.kv_heads} and qk_norm = {self.qk_norm} have no meaning for "
        "latents, which serve all heads and are normed already; leave them out."
      )
    widths = (
      4 * k if self.kv_width is None else self.kv_width,
      12 * k if self.query_width is None else self.query_width,
      k // 2 if self.rotary_width is None else self.rotary_width,
    )
    check_positive(kv_width=widths[0], query_width=widths[1], rotary_width=widths[2])
    return widths
