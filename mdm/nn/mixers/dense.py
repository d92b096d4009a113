"""Dense causal attention: every token sees itself and all before it.

Source: *Attention Is All You Need*, Vaswani et al., 2017, section 3.2.3; *GQA*, 2023.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from mdm.kernels.intervals import causal_intervals
from mdm.nn.mixers.base import (
  Mixer,
  Place,
  Stored,
  empty_store,
  restrict,
  store,
  stored_intervals,
)


class DenseAttention(Mixer):
  """Softmax attention to all tokens so far; its cache grows with the length.

  Tokens may be taken back: extend again from an earlier start.
  """

  def init_cache(self, batch: int, length: int, width: int | None = None) -> Stored:
    """Room for the keys and values of `length` tokens; see `Mixer.init_cache`."""
    return empty_store(batch, length, self._sizes(width), self.dtype)

  @nn.compact
  def _run(
    self, x: Float[Array, "b n d"], place: Place, cache: Stored | None
  ) -> tuple[Float[Array, "b n d"], Stored | None]:
    query, pairs = self._project(x, place)
    if cache is not None:
      cache = store(cache, pairs, place)
    if cache is None or place.is_beginning:
      intervals = restrict(causal_intervals(x.shape[1]), place)
      mixed = self._attend(query, pairs, intervals).out
    else:
      intervals = stored_intervals(cache.valid)  # b 1 m
      mixed = self._attend(query, cache.pairs, intervals, positions=place.rows).out
    return self._out(mixed, x.shape[-1]), cache
