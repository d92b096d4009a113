"""Dynamic mask attention: each head learns which w tokens of the past to keep.

  z_j = flatten(v_j) Wdt;  u_j = softplus(z_j);  s_j = A u_j;  delta_j = exp(s_j)
  S_i = TopW over j <= i - r of s_j, and i - r + 1, ..., i;  r = 0 as published
  o_i = sum_{j in S_i} softmax_j(<q_i, k_j> / sqrt(k) + b_j) v_j;  b = delta (or s)

A head's score reads the values of all heads. S_i is an interval of queries per key, so
that the cost is n (w + r + chunk) instead of n^2 and decoding needs w + r slots. Up to
w + r tokens every key is kept, and b is added all the same. With r = 0 nothing forces a
token to see itself. With A = 0 all scores tie, the latest win, and this is a sliding
window of w + r.

The indices of S_i have no gradient; A and Wdt learn through b of the keys that were
kept, and v both through b and as a value.

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, sections 3 and 4,
and the authors' published model code (score heads are key/value heads).
Differences:
  - causal first, then the best w, ties to the latest; the authors' kernel wrapper can
    choose among keys of the future, and leaves ties open.
  - the choice compares s, which orders as delta does but neither overflows nor ties
    where float32 rounds delta to equal numbers.
  - scores are float32, whatever the dtype.
  - no choice by a threshold: softplus is positive, so s > 0 would keep all or nothing.
  - `recent`, r, is ours: the published mask may drop the nearest tokens, which text
    needs. Tokens compete once they are recent no longer, so that none counts twice.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.kernels.eviction import check_recent, eviction_times, keep_recent
from mdm.kernels.intervals import Intervals, causal_intervals
from mdm.kernels.sharded import attend_sharded
from mdm.masks.choices import check_choice
from mdm.nn.layers import Linear, named
from mdm.nn.mixers import kept as slots
from mdm.nn.mixers.base import (
  NEVER,
  Mixer,
  Place,
  Stored,
  check_fits,
  check_positive,
  empty_store,
  store,
  write,
)
from mdm.nn.mixers.kept import Kept, Recent
from mdm.nn.placing import TOKEN_AXIS, token_shards
from mdm.nn.rotary import KeyValue

BIAS_MODES = ("exp", "log")
CACHES = ("topw", "full")
A_INITS = {"zeros": nn.initializers.zeros, "normal": nn.initializers.normal(0.02)}


class Everything(NamedTuple):
  """All tokens so far, and their scores: from it any token may be taken back."""

  stored: Stored
  score: Float[Array, "b g m"]


class DynamicMaskAttention(Mixer):
  """Attention to the `window` best tokens so far, by a learned score.

  Parameters, beside `Mixer`'s: `dt` (Wdt) and `A`.

  Attributes:
    window: w, tokens a query sees at most because of their scores.
    recent: r, tokens up to the query itself that it sees whatever their scores.
    bias_mode: "exp" adds delta to the scores (as published), "log" adds log delta,
      which cannot overflow.
    a_init: "zeros", or "normal" with deviation 0.02.
    cache: "topw" keeps `window` tokens of each head and the last `recent`; "full" keeps
      all, so that extending again from an earlier start takes tokens back.
  """

  window: int = 2048
  recent: int = 0
  bias_mode: str = "exp"
  a_init: str = "zeros"
  cache: str = "topw"

  def init_cache(
    self, batch: int, length: int, width: int | None = None
  ) -> Kept | Everything:
    """An empty cache, of window + recent slots or `length`; see `Mixer.init_cache`."""
    self._check()
    sizes = self._sizes(width)
    if self.cache == "full":
      scores = jnp.zeros((batch, sizes.g, length))
      return Everything(empty_store(batch, length, sizes, self.dtype), scores)
    kind = sizes.k, self.dtype
    kept = slots.empty_kept(batch, sizes.g, min(self.window, length), *kind)
    if self.recent == 0:
      return kept
    line = slots.empty_line(batch, sizes.g, min(self.recent, length), *kind)
    return kept._replace(recent=Recent(line, jnp.zeros(batch, jnp.int32)))

  @nn.compact
  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Kept | Everything | None
  ) -> tuple[Float[Array, "b n d"], Kept | Everything | None]:
    self._check()
    query, pairs = self._project(x, place)
    score = self._score(pairs.value)  # b g n
    if isinstance(cache, Everything):
      cache = Everything(
        store(cache.stored, pairs, place),
        write(cache.score, score, place.start, axis=2),
      )
    if cache is None and token_shards(x.shape[1]) > 1:
      mixed = self._mix_sharded(query, pairs, score, place)
    elif cache is None or place.is_beginning:
      valid, segments = place.valid, place.segments
      end = eviction_times(score, self.window, valid=valid, segments=segments)
      held = keep_recent(end, self.recent, valid=valid, segments=segments)
      intervals = self._intervals(held)
      width = min(self.window + self.recent, x.shape[1])
      mixed = self._mix(query, pairs, score, intervals, width=width)
      if isinstance(cache, Kept):
        cache = self._begin(cache, pairs, score, end, place)
    elif isinstance(cache, Everything):
      mixed = self._look_back(query, cache, place)
    else:
      mixed, cache = self._step(query, pairs, score, cache, place)
    return self._out(mixed, x.shape[-1]), cache

  def _score(self, value: Float[Array, "b n g k"]) -> Float[Array, "b g n"]:
    """A softplus(flatten(v) Wdt), float32 from the first product on."""
    g = value.shape[2]
    linear = Linear(
      (g,),
      ("heads", "kv", None),
      contract=2,
      use_bias=False,
      kernel_init=self.kernel_init,
      name="dt",
    )
    slope = self.param("A", named(A_INITS[self.a_init], "heads"), (g,))
    with jax.default_matmul_precision("highest"):
      z = linear(value.astype(jnp.float32))  # b n g
    return (slope * jax.nn.softplus(z)).swapaxes(1, 2)

  def _intervals(self, end: Int[Array, "b g m"]) -> Intervals:
    """Keys are seen from their own position to before `end`."""
    start, _ = causal_intervals(end.shape[-1])  # 1 1 m
    return Intervals(jnp.broadcast_to(start, end.shape), end)

  def _mix(
    self,
    query: Float[Array, "b n h k"],
    pairs: KeyValue,
    score: Float[Array, "b g m"],
    intervals: Intervals,
    **settings: Any,
  ) -> Float[Array, "b n h k"]:
    """Attention with the bias that the scores stand for."""
    bias = self._bias(score)
    return self._attend(query, pairs, intervals, bias=bias, **settings).out

  def _mix_sharded(
    self,
    query: Float[Array, "b n h k"],
    pairs: KeyValue,
    score: Float[Array, "b g n"],
    place: Place,
  ) -> Float[Array, "b n h k"]:
    """The same of a whole sequence that a mesh cuts: the best keys alone travel."""
    key, value = (x.astype(query.dtype) for x in pairs)
    return attend_sharded(
      query,
      key,
      value,
      score,
      width=min(self.window, score.shape[-1]),
      recent=self.recent,
      axis=TOKEN_AXIS,
      bias=self._bias(score),
      valid=place.valid,
      segments=place.segments,
      backend=self.backend,
    ).out

  def _bias(self, score: Float[Array, "b g m"]) -> Float[Array, "b g m"]:
    """What is added to a key's scores of attention."""
    return jnp.exp(score) if self.bias_mode == "exp" else score

  def _begin(
    self,
    cache: Kept,
    pairs: KeyValue,
    score: Float[Array, "b g n"],
    end: Int[Array, "b g n"],
    place: Place,
  ) -> Kept:
    """The cache after a whole sequence, of which the scores alone keep until `end`."""
    self._check_room(score.shape[-1], 0, cache)
    recent, length = cache.recent, None
    if recent is not None:
      n, r = place.real_length, recent.line.score.shape[-1]
      length = n - r  # of what is recent no longer
      line = slots.line_up(cache, pairs, score, place)  # b g r+n
      last = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, n, r, axis=2), line)
      recent = Recent(last, jnp.full_like(recent.length, n))
    rank = slots.keep_last(score, end, cache.key.shape[2], length)
    key, value = (slots.gather_tokens(x, rank.position) for x in pairs)
    dtypes = cache.key.dtype, cache.value.dtype
    return Kept(rank, key.astype(dtypes[0]), value.astype(dtypes[1]), recent)

  def _step(
    self,
    query: Float[Array, "b n h k"],
    pairs: KeyValue,
    score: Float[Array, "b g n"],
    cache: Kept,
    place: Place,
  ) -> tuple[Float[Array, "b n h k"], Kept]:
    """New tokens among the kept ones; one alone sees just what is kept after it."""
    n = query.shape[1]
    self._check_room(n, place.start, cache)
    cache = slots.skip_to(cache, place.start)
    line = slots.line_up(cache, pairs, score, place)  # b g r+n
    pushed, after = slots.let_pass(cache, line, place)
    r = line.score.shape[-1] - n
    if n == 1:
      seen = slots.beside(after, slots.cut_line(line, 1)[1])
      end = jnp.full_like(seen.position, NEVER)
    else:
      seen = slots.beside(cache, line)
      end = jnp.minimum(pushed.end, NEVER - r) + r  # b g w+n
      end = jnp.pad(end, ((0, 0), (0, 0), (0, r)), constant_values=NEVER)
    end = jnp.where(seen.position < 0, 0, end)
    mixed = self._mix(
      query,
      KeyValue(seen.key.swapaxes(1, 2), seen.value.swapaxes(1, 2)),
      jnp.where(end > 0, seen.score, 0.0),
      Intervals(seen.position, end),
      positions=place.rows,
    )
    return mixed, after

  def _look_back(
    self,
    query: Float[Array, "b n h k"],
    cache: Everything,
    place: Place,
  ) -> Float[Array, "b n h k"]:
    """New tokens before all stored ones, under the interval mask."""
    valid = cache.stored.valid  # b m
    m = valid.shape[1]
    start = place.start - self.recent  # who competes stands so far back
    rank = slots.best_before(
      cache.score, valid & (jnp.arange(m) < start), min(self.window, m)
    )
    row = start + jnp.arange(query.shape[1])
    is_real = (row >= 0) & jnp.take(valid, row, axis=1, mode="clip")
    competes = place._replace(start=start, valid=is_real)
    leaving = jnp.take(cache.score, row, axis=2, mode="clip")
    pushed = slots.push_scores(rank, leaving, competes)
    end = slots.spread_ends(rank, pushed, competes.rows, m)
    end = jnp.maximum(end, jnp.arange(m))  # none leaves before it comes
    intervals = self._intervals(keep_recent(end, self.recent, valid=valid))
    rows = place.rows
    return self._mix(query, cache.stored.pairs, cache.score, intervals, positions=rows)

  def _check_room(self, n: int, start: int | Int[Array, ""], cache: Kept) -> None:
    recent = 0 if cache.recent is None else cache.recent.line.score.shape[-1]
    for room, wanted in ((cache.key.shape[2], self.window), (recent, self.recent)):
      if room < wanted:  # made for sequences that are no longer than that
        check_fits(n, start, room)

  def _check(self) -> None:
    check_positive(window=self.window)
    check_recent(self.recent)
    check_choice("bias_mode", self.bias_mode, BIAS_MODES)
    check_choice("a_init", self.a_init, A_INITS)
    check_choice("cache", self.cache, CACHES)
