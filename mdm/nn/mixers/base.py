"""What token mixers share: their signature, projections, positions and outputs.

A mixer maps tokens [b n d] to tokens of the same shape, each a function of itself and
those before it. All have

  mixer(x, positions=, valid=, segments=)        a whole sequence
  mixer.init_cache(batch, length)                what remembers a sequence
  mixer.extend(x, cache, start=, valid=)         tokens that follow, and the cache

and `extend`, token by token or in blocks of any length, gives what the whole sequence
gives. With the integer start 0 it begins a sequence, whatever the cache held before,
at the cost of a whole one; where that ends in padding, what follows may take its place.

  q = x Wq;  k = x Wk;  v = x Wv;  q, k <- norm, rotation;  y = mix(q, k, v) Wo

Source: *GQA: Training Generalized Multi-Query Transformer Models*, 2023 (fewer heads of
keys and values); *RoFormer*, 2021 (rotation); *Scaling Vision Transformers to 22
Billion Parameters*, 2023, section 2 (norms of queries and keys).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.kernels.interval_attention import Attended, interval_attention
from mdm.kernels.intervals import (
  Intervals,
  causal_intervals,
  intersect,
  segment_intervals,
  valid_intervals,
  window_intervals,
)
from mdm.kernels.sharded import attend_gathered, attend_sharded
from mdm.masks.choices import check_choice
from mdm.nn.layers import Initializer, Linear, RMSNorm
from mdm.nn.placing import TOKEN_AXIS, token_shards
from mdm.nn.rotary import KeyValue, make_rotation, rotate

POSITIONS = ("rope", "none")
NEVER = np.iinfo(np.int32).max  # the end of a key that stays visible


class Place(NamedTuple):
  """Where tokens stand: what `_run` needs to know of them beside their values."""

  start: int | Int[Array, ""]
  positions: Int[Array, "#b n"]
  valid: Bool[Array, "b n"] | None
  segments: Int[Array, "b n"] | None

  @property
  def is_beginning(self) -> bool:
    """Whether nothing comes before, as far as is known without running."""
    return isinstance(self.start, int | np.integer) and self.start == 0

  @property
  def rows(self) -> Int[Array, "n"]:
    """Indices of the tokens in their sequence."""
    return self.start + jnp.arange(self.positions.shape[1], dtype=jnp.int32)

  @property
  def real_length(self) -> int | Int[Array, ""]:
    """Tokens up to the last one that is real in any row; 0 if none is."""
    n = self.positions.shape[1]
    if self.valid is None:
      return n
    return jnp.where(self.valid.any(axis=0), jnp.arange(1, n + 1), 0).max()


class Stored(NamedTuple):
  """Keys and values of m tokens, and which of them are real."""

  pairs: KeyValue
  valid: Bool[Array, "b m"]


class Sizes(NamedTuple):
  """Heads of queries, heads of keys and values, and the width of one."""

  h: int
  g: int
  k: int


class Mixer(nn.Module):
  """The settings of every mixer; a subclass says in `_run` how it mixes.

  Parameters: `query`, `key`, `value` and `out`; `query_norm` and `key_norm`.

  Attributes:
    kv_heads: heads of keys and values, each shared by heads / kv_heads queries; None
      for as many as heads.
    head_width: width of a head; None for the tokens' width / heads.
    qk_norm: divides every query and key by its root mean square, before rotation.
    positions: "rope", or "none" for a mixer that knows no order but who came before.
    theta: base of the rotation's wavelengths.
    out_scale: factor on the output map's start, for deep sums of branches.
    backend: of `kernels.interval_attention`.
  """

  heads: int
  kv_heads: int | None = None
  head_width: int | None = None
  qk_norm: bool = False
  positions: str = "rope"
  theta: float = 10_000.0
  epsilon: float = 1e-6
  kernel_init: Initializer = nn.initializers.lecun_normal()
  out_scale: float = 1.0
  use_bias: bool = False
  backend: str = "auto"
  dtype: DTypeLike = jnp.float32

  def __call__(
    self,
    x: Float[Array, "b n d"],
    *,
    positions: Int[Array, "#b n"] | None = None,
    valid: Bool[Array, "b n"] | None = None,
    segments: Int[Array, "b n"] | None = None,
  ) -> Float[Array, "b n d"]:
    """Mixes the tokens of whole sequences.

    Args:
      positions: that tokens are rotated by; None for 0, 1, 2, ...
      valid: False for padding, which no token sees.
      segments: runs of equal numbers; tokens see their own run only.

    Raises:
      ValueError: settings that contradict each other or the tokens' width.
    """
    if positions is None:
      positions = jnp.arange(x.shape[1], dtype=jnp.int32)[None]
    return self._run(x, Place(0, positions, valid, segments), None)[0]

  def init_cache(self, batch: int, length: int, width: int | None = None) -> Any:
    """An empty cache for sequences of up to `length` tokens; needs no parameters.

    Args:
      width: of the tokens; needed only where `head_width` is None.

    Raises:
      ValueError: settings that contradict each other, or no width.
    """
    raise NotImplementedError

  def extend(
    self,
    x: Float[Array, "b n d"],
    cache: Any,
    *,
    start: int | Int[Array, ""],
    valid: Bool[Array, "b n"] | None = None,
  ) -> tuple[Float[Array, "b n d"], Any]:
    """Mixes tokens at start, start + 1, ..., which see all before them in the cache.

    Returns them and the cache with them in it. The integer start 0 begins a sequence,
    however long, as a whole one; later blocks cost their length times what is kept.

    Raises:
      ValueError: the tokens do not fit in the cache.
    """
    place = Place(start, jnp.zeros((1, x.shape[1]), jnp.int32), valid, None)
    return self._run(x, place._replace(positions=place.rows[None]), cache)

  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Any
  ) -> tuple[Float[Array, "b n d"], Any]:
    """What both share: compact, so that both have the same parameters."""
    raise NotImplementedError

  def _sizes(self, width: int | None) -> Sizes:
    """Checked numbers of heads, and their width, for tokens of `width`."""
    check_choice("positions", self.positions, POSITIONS)
    h, g = self.heads, self.kv_heads or self.heads
    if self.head_width is None and width is None:
      raise ValueError(
        "head_width = None leaves the cache's width open; give init_cache the tokens' "
        "width, or the mixer a head_width."
      )
    if h % g or (self.head_width is None and width is not None and width % h):
      raise ValueError(
        f"heads = {h} must be a multiple of kv_heads = {g}, and divide the tokens' "
        f"width = {width} where no head_width is given; change one of them."
      )
    return Sizes(h, g, self.head_width or (width or 0) // h)

  def _project(
    self, x: Float[Array, "b n d"], place: Place
  ) -> tuple[Float[Array, "b n h k"], KeyValue]:
    """Queries, and keys and values, normed and rotated."""
    h, g, k = self._sizes(x.shape[-1])
    axes = ("embed", "heads", "kv")
    query = self._linear((h, k), axes, "query")(x)  # b n h k
    key = self._linear((g, k), axes, "key")(x)  # b n g k
    value = self._linear((g, k), axes, "value")(x)  # b n g k
    if self.qk_norm:
      query = RMSNorm(self.epsilon, axis="kv", name="query_norm")(query)
      key = RMSNorm(self.epsilon, axis="kv", name="key_norm")(key)
    query, key = self._rotate(query, place), self._rotate(key, place)
    return query, KeyValue(key, value)

  def _rotate(
    self, x: Float[Array, "b n h k"], place: Place
  ) -> Float[Array, "b n h k"]:
    """Heads turned by their tokens' positions, if the mixer knows them."""
    if self.positions == "none":
      return x
    return rotate(x, make_rotation(place.positions, x.shape[-1], self.theta))

  def _attend(
    self,
    query: Float[Array, "b n h k"],
    pairs: KeyValue,
    intervals: Intervals,
    **settings: Any,
  ) -> Attended:
    """The one primitive, on this mixer's backend.

    Where a mesh cuts the queries' tokens, keys and values are gathered.
    """
    key, value = (x.astype(query.dtype) for x in pairs)
    settings |= {"backend": self.backend}
    if token_shards(query.shape[1]) == 1:
      return interval_attention(query, key, value, intervals, **settings)
    settings.pop("width", None)
    return attend_gathered(query, key, value, intervals, axis=TOKEN_AXIS, **settings)

  def _attend_near(
    self,
    query: Float[Array, "b n h k"],
    pairs: KeyValue,
    place: Place,
    window: int,
  ) -> Float[Array, "b n h k"]:
    """Attention of whole sequences to the last `window` tokens.

    Where a mesh cuts the tokens, those before a shard come from its neighbours.
    """
    b, n, g = pairs.key.shape[:3]
    if token_shards(n) == 1:
      intervals = restrict(window_intervals(n, window), place)
      return self._attend(query, pairs, intervals, width=min(window, n)).out
    key, value = (x.astype(query.dtype) for x in pairs)
    return attend_sharded(
      query,
      key,
      value,
      jnp.zeros((b, g, n)),
      width=0,
      recent=min(window, n),
      axis=TOKEN_AXIS,
      valid=place.valid,
      segments=place.segments,
      backend=self.backend,
    ).out

  def _out(self, mixed: Float[Array, "b n h e"], width: int) -> Float[Array, "b n d"]:
    """Heads side by side, mapped to tokens of `width`."""

    def init(key: Key[Array, ""], *given: Any) -> jax.Array:
      """The kernel as all others start, times `out_scale`."""
      return self.out_scale * self.kernel_init(key, *given)

    axes = ("heads", "kv", "embed")
    return self._linear((width,), axes, "out", contract=2, init=init)(mixed)

  def _linear(
    self,
    features: tuple[int, ...],
    axes: tuple[str | None, ...],
    name: str,
    contract: int = 1,
    init: Initializer | None = None,
  ) -> Linear:
    return Linear(
      features,
      axes,
      contract=contract,
      use_bias=self.use_bias,
      kernel_init=init or self.kernel_init,
      dtype=self.dtype,
      name=name,
    )


def empty_store(batch: int, length: int, sizes: Sizes, dtype: DTypeLike) -> Stored:
  """Room for `length` tokens, none of them real yet."""
  pairs = empty_pairs((batch, length, sizes.g, sizes.k), dtype)  # b m g k
  return Stored(pairs, jnp.zeros((batch, length), bool))


def empty_pairs(shape: tuple[int, ...], dtype: DTypeLike) -> KeyValue:
  """Zeros for keys and for values: two arrays, so that a loop may donate both."""
  return KeyValue(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def store(cache: Stored, new: KeyValue, place: Place) -> Stored:
  """The cache with new tokens from `place.start` on.

  Raises:
    ValueError: they do not fit.
  """
  b, n = new.key.shape[:2]
  check_fits(n, place.start, cache.valid.shape[1])
  known = jnp.ones((b, n), bool) if place.valid is None else place.valid
  return jax.tree.map(
    lambda old, now: write(old, now, place.start), cache, Stored(new, known)
  )


def write(old: Array, new: Array, start: int | Int[Array, ""], axis: int = 1) -> Array:
  """`old` with `new`, in its dtype, from `start` on."""
  return jax.lax.dynamic_update_slice_in_dim(
    old, new.astype(old.dtype), start, axis=axis
  )


def stored_intervals(valid: Bool[Array, "b m"]) -> Intervals:
  """Who sees the stored tokens: their own position and later ones, if they are real."""
  start, end = causal_intervals(valid.shape[1])  # 1 1 m
  return Intervals(start, jnp.where(valid[:, None], end, 0))  # b 1 m


def restrict(intervals: Intervals, place: Place) -> Intervals:
  """What the intervals allow of real tokens in the same segment."""
  parts, n = [intervals], intervals.start.shape[-1]
  if place.valid is not None:
    parts.append(valid_intervals(place.valid, n))
  if place.segments is not None:
    parts.append(segment_intervals(place.segments))
  return intersect(*parts)


def check_fits(n: int, start: int | Int[Array, ""], length: int) -> None:
  """Raises ValueError where n tokens from `start` on exceed a cache of `length`."""
  is_known = isinstance(start, int | np.integer)
  if n > length or (is_known and not 0 <= start <= length - n):
    raise ValueError(
      f"{n} tokens from position {start} do not fit in a cache of {length}; give "
      "init_cache the length of the whole sequence."
    )


def check_positive(**settings: int) -> None:
  """Raises ValueError where a setting that counts something is below 1."""
  for name, value in settings.items():
    if value < 1:
      raise ValueError(f"{name} = {value} lets a token see nothing; give at least 1.")
