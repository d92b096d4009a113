"""Self-attention that knows positions by rotation, and can keep keys and values.

Source: *RoFormer: Enhanced Transformer with Rotary Position Embedding*, 2021, equation
34 in its half-split form: component i of a head is paired with component i + k/2. The
score of two tokens then depends on their distance alone.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.nn.attention import attend
from mdm.nn.layers import Initializer, Linear, RMSNorm


class Rotation(NamedTuple):
  """Cosines and sines of the angles that each position turns each pair by."""

  cos: Float[Array, "#b n 1 half"]
  sin: Float[Array, "#b n 1 half"]


class KeyValue(NamedTuple):
  """Keys (already rotated) and values of g heads; of a stack, layers first."""

  key: Float[Array, "*l b m g k"]
  value: Float[Array, "*l b m g k"]


def make_rotation(
  positions: Int[Array, "#b n"], width: int, theta: float = 10_000.0
) -> Rotation:
  """Angles position * theta^(-2i/k) of the pairs i of a head of `width` k, float32.

  Raises:
    ValueError: an odd width.
  """
  if width % 2:
    raise ValueError(
      f"head width = {width} is odd; rotation turns pairs, make it even."
    )
  rates = theta ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)  # k/2
  angles = positions[..., None, None].astype(jnp.float32) * rates  # b n 1 k/2
  return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: Float[Array, "b n h k"], rotation: Rotation) -> Float[Array, "b n h k"]:
  """Turns each pair (x_i, x_{i + k/2}) of every head by its position's angle."""
  a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)  # b n h k/2
  cos, sin = rotation
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return turned.astype(x.dtype)  # b n h k


class RotaryAttention(nn.Module):
  """Self-attention with rotated queries and keys, grouped heads, and a memory of both.

  Parameters: `qkv` (one fused map), or `query` and `key_value` where `kv_heads` differs
  from `heads`; `out`; `query_norm` and `key_norm`.

  Attributes:
    kv_heads: heads of keys and values, each shared by heads / kv_heads queries.
    qk_norm: divides every query and key by its root mean square, before rotation.
  """

  heads: int
  kv_heads: int | None = None
  use_bias: bool = False
  qk_norm: bool = False
  epsilon: float = 1e-6
  kernel_init: Initializer = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    rotation: Rotation | None = None,
    visible: Bool[Array, "#b 1 #n m"] | None = None,
    past: KeyValue | None = None,
    start: Int[Array, ""] | int = 0,
  ) -> tuple[Float[Array, "b n d"], KeyValue]:
    """Mixes tokens; returns them and all keys and values that could be looked at.

    Args:
      rotation: angles of the tokens' positions; None leaves positions unknown.
      visible: True where a query may look at a key of the m in sight.
      past: keys and values from before; the new ones replace those from `start` on.

    Raises:
      ValueError: the heads do not divide the width, or kv_heads not the heads.
    """
    width = x.shape[-1]
    query, new = self._project(x)
    if self.qk_norm:
      query = RMSNorm(self.epsilon, axis="kv", name="query_norm")(query)
      new = new._replace(key=RMSNorm(self.epsilon, axis="kv", name="key_norm")(new.key))
    if rotation is not None:
      query = rotate(query, rotation)
      new = new._replace(key=rotate(new.key, rotation))
    if past is not None:
      new = jax.tree.map(
        lambda old, now: jax.lax.dynamic_update_slice_in_dim(
          old, now.astype(old.dtype), start, axis=1
        ),
        past,
        new,
      )
    mixed = attend(query, new.key, new.value, visible)  # b n h k
    out = self._linear((width,), ("heads", "kv", "embed"), "out", contract=2)
    return out(mixed), new  # b n d

  def _project(
    self, x: Float[Array, "b n d"]
  ) -> tuple[Float[Array, "b n h k"], KeyValue]:
    h, g, width = self.heads, self.kv_heads or self.heads, x.shape[-1]
    if width % h or h % g:
      raise ValueError(
        f"heads = {h} must divide width = {width}, and kv_heads = {g} the heads."
      )
    k = width // h
    if g == h:
      qkv = self._linear((3, h, k), ("embed", None, "heads", "kv"), "qkv")(x)
      query, key, value = jnp.moveaxis(qkv, 2, 0)  # each b n h k
      return query, KeyValue(key, value)
    query = self._linear((h, k), ("embed", "heads", "kv"), "query")(x)  # b n h k
    pair = self._linear((2, g, k), ("embed", None, "heads", "kv"), "key_value")(x)
    return query, KeyValue(pair[:, :, 0], pair[:, :, 1])  # each b n g k

  def _linear(
    self,
    features: tuple[int, ...],
    axes: tuple[str | None, ...],
    name: str,
    contract: int = 1,
  ) -> Linear:
    return Linear(
      features,
      axes,
      contract=contract,
      use_bias=self.use_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name=name,
    )
