"""Self-attention whose scores depend on how far tokens lie apart.

  score[i, j] = ((q_i + u) k_j + (q_i + v) r_{i-j}) / sqrt(k)

r is a linear map, without bias, of the sinusoids of the distance i - j, and u and v are
learned for each head: nothing depends on where a row ends.

Source: *Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context*, 2019,
section 3.3; *Conformer: Convolution-augmented Transformer for Speech Recognition*,
2020, section 2.1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mdm.nn.layers import Initializer, Linear, named
from mdm.nn.positions import sinusoids
from mdm.nn.softmax import mix_by_softmax


def distance_sinusoids(length: int, width: int) -> Float[np.ndarray, "m d"]:
  """Sinusoids of the distances length - 1 down to 1 - length, m = 2 length - 1 rows.

  Raises:
    ValueError: an odd width.
  """
  after = sinusoids(length, width)  # of 0, 1, ...
  signs = np.tile(np.array([-1, 1], np.float32), width // 2)  # sines are odd
  before = after[1:] * signs
  return np.concatenate([after[::-1], before])


def shift_relative(scores: Float[Array, "*dims n m"]) -> Float[Array, "*dims n n"]:
  """Of scores by distance (n - 1 down to 1 - n), those of i - j in column j of row i.

  A column of zeros in front, the rows read on as if they were one shorter, and what is
  wanted lies one below the other: no gather.

  Source: *Transformer-XL*, 2019, appendix B.
  """
  *dims, n, m = scores.shape
  padded = jnp.pad(scores, [(0, 0)] * len(dims) + [(0, 0), (1, 0)])  # n m+1
  shifted = padded.reshape(*dims, m + 1, n)[..., 1:, :]  # m n
  return shifted.reshape(*dims, n, m)[..., :n]


class RelativeAttention(nn.Module):
  """Self-attention with relative positions; a query that sees nothing gets zeros.

  Parameters: `qkv` (one fused map), `position`, `content_bias` (u), `position_bias`
  (v), `out`. Scores and softmax are float32.
  """

  heads: int
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n d"], *, visible: Bool[Array, "#b 1 #n n"] | None = None
  ) -> Float[Array, "b n d"]:
    """Mixes tokens, each those that are visible to it.

    Raises:
      ValueError: the heads do not divide the width, or the width is odd.
    """
    n, width = x.shape[1:]
    if width % self.heads:
      raise ValueError(
        f"width = {width} is no multiple of heads = {self.heads}; change one of them."
      )
    h, k = self.heads, width // self.heads
    qkv = self._linear((3, h, k), ("embed", None, "heads", "kv"), "qkv")(x)  # b n 3 h k
    query, key, value = jnp.moveaxis(qkv, 2, 0)  # each b n h k
    u, v = (self._bias(name, (h, k)) for name in ("content_bias", "position_bias"))
    table = jnp.asarray(distance_sinusoids(n, width), self.dtype)  # m d
    place = self._linear((h, k), ("embed", "heads", "kv"), "position", use_bias=False)
    scale, wide = k**-0.5, jnp.float32
    scores = jnp.einsum(
      "bqhk,bmhk->bhqm", (query + u) * scale, key, preferred_element_type=wide
    )  # b h n n
    by_distance = jnp.einsum(
      "bqhk,mhk->bhqm", (query + v) * scale, place(table), preferred_element_type=wide
    )  # b h n 2n-1
    mixed = _mix(scores + shift_relative(by_distance), value, visible)  # b n h k
    out = self._linear((width,), ("heads", "kv", "embed"), "out", contract=2)
    return out(mixed)  # b n d

  def _bias(self, name: str, shape: tuple[int, int]) -> jax.Array:
    """One of the vectors that stand for a query."""
    init = named(nn.initializers.zeros, "heads", "kv")
    return jnp.asarray(self.param(name, init, shape), self.dtype)

  def _linear(
    self,
    features: tuple[int, ...],
    axes: tuple[str | None, ...],
    name: str,
    *,
    contract: int = 1,
    use_bias: bool = True,
  ) -> Linear:
    """One of the four maps."""
    return Linear(
      features,
      axes,
      contract=contract,
      use_bias=use_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name=name,
    )


def _mix(
  scores: Float[Array, "b h q m"],
  value: Float[Array, "b m h k"],
  visible: Bool[Array, "#b 1 #q m"] | None,
) -> Float[Array, "b q h k"]:
  """Values weighted by the softmax of the visible scores."""
  if visible is not None:
    scores = jnp.where(visible, scores, jnp.finfo(jnp.float32).min)
  mixed = mix_by_softmax(scores, jnp.swapaxes(value, 1, 2))  # b h q k
  if visible is not None:  # a row that sees nothing would be uniform otherwise
    mixed = jnp.where(visible.any(-1, keepdims=True), mixed, 0.0)
  return jnp.swapaxes(mixed, 1, 2)  # b q h k
