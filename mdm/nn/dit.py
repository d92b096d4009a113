"""Diffusion transformer for images whose pixels are tokens: one of 256 values, or MASK.

The rows x columns x channels values of an image, flattened in that order, are embedded
one by one and gathered into square patches; adaLN-Zero blocks mix the patches, and a
linear map gives each value of a patch logits of its own.

Source: *Scalable Diffusion Models with Transformers*, Peebles and Xie, 2023, section
3.2; *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, section 6
(pixels as tokens).
Differences:
  - values are embedded, not read as numbers, since a hidden one has none.
  - MD4's published CIFAR-10 results are those of a UNet.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
from mdm.nn.conditioning import TIMES, Modulation, TimeEmbed, make_norm, modulate
from mdm.nn.layers import Linear, named
from mdm.nn.modulated import ModulatedStack
from mdm.nn.positions import sinusoids


class DiT(nn.Module):
  """Pixel tokens [b n] (and time) to float32 logits [b n v], n = rows * columns * c.

  Attributes:
    vocab_size: values V of a channel; the id V is MASK.
    size: rows, columns and channels of an image.
    patch: side of a square patch.
    value_width: width of each value's own embedding.
    time: "adaln" tells t to every block; "none" ignores it.
    cond_width: width of the time's embedding; None for `width`.
    zero_head: whether logits start at zero, every value equally likely.
    mlp, norm, qk_norm, dropout, remat, scan: see `modulated.ModulatedStack`.
  """

  vocab_size: int = 256
  size: Sequence[int] = (32, 32, 3)
  patch: int = 2
  value_width: int = 32
  width: int = 384
  depth: int = 12
  heads: int = 6
  mlp_ratio: float = 4.0
  mlp: str = "gelu_tanh"
  norm: str = "layer"
  qk_norm: bool = False
  time: str = "adaln"
  cond_width: int | None = None
  zero_head: bool = True
  dropout: float = 0.0
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @property
  def mask_id(self) -> int:
    """The id of a hidden value."""
    return self.vocab_size

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, "b n"],
    t: Float[Array, "b"] | None = None,
    *,
    valid: Bool[Array, "b n"] | None = None,
    train: bool = False,
  ) -> Float[Array, "b n v"]:
    """Logits of the V values of every channel of every pixel.

    Args:
      t: share of hidden values, or the schedule's time; needed where `time` is "adaln".
      valid: False for padding: read as MASK, and a patch of nothing else is not seen.

    Raises:
      ValueError: the tokens are no image of `size`, patches do not tile it, or there is
        no time where one is needed.
    """
    self._check(tokens.shape[1], t)
    visible = None
    if valid is not None:
      tokens = jnp.where(valid, tokens, self.mask_id)
      visible = self._cut(valid[..., None]).any(-1)[:, None, None]  # b 1 1 m
    x = self._embed(tokens)  # b m d
    cond = None
    if self.time == "adaln" and t is not None:
      cond = TimeEmbed(self.cond_width or self.width, name="time_embed")(t)  # b e
    x, _ = self._stack()(x, cond, None, visible, train=train)
    return self._head(x, cond)

  def _embed(self, tokens: Int[Array, "b n"]) -> Float[Array, "b m d"]:
    """Every patch's values, embedded, side by side, mapped to one width; and places."""
    init = named(nn.initializers.normal(1.0), "vocab", None)
    shape = (self.vocab_size + 1, self.value_width)
    values = jnp.take(self.param("embedding", init, shape), tokens, axis=0)  # b n e
    patches = Linear(
      (self.width,),
      (None, "embed"),
      kernel_init=nn.initializers.lecun_normal(),
      dtype=self.dtype,
      name="patches",
    )
    rows, columns = (side // self.patch for side in self.size[:2])
    x = patches(self._cut(values))  # b m d
    return x + grid_sinusoids(rows, columns, self.width).astype(self.dtype)

  def _stack(self) -> ModulatedStack:
    return ModulatedStack(
      depth=self.depth,
      heads=self.heads,
      mlp_ratio=self.mlp_ratio,
      mlp=self.mlp,
      norm=self.norm,
      qk_norm=self.qk_norm,
      dropout=self.dropout,
      epsilon=self.epsilon,
      remat=self.remat,
      scan=self.scan,
      dtype=self.dtype,
      name="stack",
    )

  def _head(
    self, x: Float[Array, "b m d"], cond: Float[Array, "b e"] | None
  ) -> Float[Array, "b n v"]:
    norm = make_norm(
      self.norm,
      epsilon=self.epsilon,
      is_modulated=cond is not None,
      use_bias=True,
      name="norm",
    )
    x = norm(x)
    if cond is not None:
      x = modulate(x, *Modulation(2, self.width, self.dtype, name="modulation")(cond))
    init = nn.initializers.zeros if self.zero_head else nn.initializers.lecun_normal()
    head = Linear(
      (self.patch**2 * self.size[2], self.vocab_size),
      ("embed", None, "vocab"),
      kernel_init=init,
      dtype=self.dtype,
      name="head",
    )
    return self._join(head(x).astype(jnp.float32))

  def _cut(self, x: Array) -> Array:
    """Values [b n f] to patches [b m (p p c f)]."""
    (rows, columns, channels), p = self.size, self.patch
    x = x.reshape(len(x), rows // p, p, columns // p, p, channels, -1)
    x = x.swapaxes(2, 3)  # b y x p p c f
    return x.reshape(len(x), (rows // p) * (columns // p), -1)  # b m (p p c f)

  def _join(self, x: Float[Array, "b m q v"]) -> Float[Array, "b n v"]:
    """Patches [b m (p p c) v] back to values."""
    (rows, columns, channels), p = self.size, self.patch
    x = x.reshape(len(x), rows // p, columns // p, p, p, channels, -1)
    return x.swapaxes(2, 3).reshape(len(x), rows * columns * channels, -1)  # b n v

  def _check(self, length: int, t: Float[Array, "b"] | None) -> None:
    check_choice("time", self.time, TIMES)
    rows, columns, channels = self.size
    if length != rows * columns * channels:
      raise ValueError(
        f"{length} tokens are no image of size = {tuple(self.size)}; set size to the "
        "data's rows, columns and channels."
      )
    if rows % self.patch or columns % self.patch or self.width % 4:
      raise ValueError(
        f"patch = {self.patch} must divide {rows} x {columns}, and 4 the width "
        f"{self.width}."
      )
    if self.time == "adaln" and t is None:
      raise ValueError("time = 'adaln' needs a t for each row; give t, or time='none'.")


def grid_sinusoids(rows: int, columns: int, width: int) -> Float[Array, "m d"]:
  """Sinusoids of each place's row in one half of the width, of its column in the other.

  Raises:
    ValueError: unless 4 divides the width.
  """
  down = np.repeat(sinusoids(rows, width // 2), columns, axis=0)  # m d/2
  right = np.tile(sinusoids(columns, width // 2), (rows, 1))  # m d/2
  return jnp.asarray(np.concatenate([down, right], axis=1))  # m d
