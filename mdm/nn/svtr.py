"""SVTRv2: an image encoder that mixes locally by convolution, then globally.

Source: *SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text Recognition*, 2024,
and the variant with layer norms and two 3x3 group convolutions that *MDiff4STR*,
2025, reads with, as in its public code. No position table: the convolutions tell.

Small (published): mixers ("ccc", "cccggg", "ggg"); Base: ("cccccc", "ccgggg",
"gggggg"); both with dims (128, 256, 384), heads (4, 8, 12).

Differences:
  - convolution biases start at 0, not uniform in +-1/sqrt(fan in).
  - batch norm keeps the plain variance of a batch, not the one times n/(n-1), and
    takes its statistics over all devices.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.nn.layers import LayerNorm, Mlp, conv, drop_path, drop_rates
from mdm.nn.transformer import Block, rematerialised

_LINEAR_INIT = nn.initializers.normal(0.02)


class Stem(nn.Module):
  """Two strided convolutions, each with batch norm and GELU: a quarter each way."""

  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, image: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b y4 x4 d"]:
    """Rows and columns divided by four, `width` channels."""
    x = image
    for i, width in enumerate((self.width // 2, self.width)):
      x = conv(
        width, strides=(2, 2), use_bias=False, dtype=self.dtype, name=f"conv_{i}"
      )(x)
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=jnp.float32,
        name=f"norm_{i}",
      )(x)
      x = nn.gelu(x, approximate=False).astype(self.dtype)
    return x  # b y/4 x/4 d


class ConvBlock(nn.Module):
  """Post-norm block whose mixer is two stacked 3x3 group convolutions."""

  heads: int
  mlp_ratio: float = 4.0
  deterministic: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b y x d"], rate: float | Float[Array, ""] | None = None
  ) -> Float[Array, "b y x d"]:
    """norm(x + mix(x)), then norm(x + mlp(x)); `rate` as in `Block`."""
    width = x.shape[-1]
    y = x
    for i in range(2):  # nothing between the two
      y = conv(width, groups=self.heads, dtype=self.dtype, name=f"conv_{i}")(y)
    x = LayerNorm(name="norm_mix")(x + self._drop(y, rate))
    mlp = Mlp(
      round(width * self.mlp_ratio),
      kernel_init=_LINEAR_INIT,
      dtype=self.dtype,
      name="mlp",
    )
    y = mlp(x, train=not self.deterministic)
    return LayerNorm(name="norm_mlp")(x + self._drop(y, rate))

  def _drop(self, y, rate):  # noqa: ANN001, ANN202
    if rate is None or self.deterministic:
      return y
    return drop_path(self.make_rng("dropout"), y, rate)


class SVTR(nn.Module):
  """Image to (y/8)(x/4) tokens, rows first, of the last stage's width.

  Attributes:
    mixers: one word per stage, one letter per block: c convolution, g global
      attention; within a stage all c come before the first g.
    heads: per stage: groups of its convolutions and heads of its attention.
    strides: of the convolution between one stage and the next.
    drop_path: rate of the last block; grows linearly from 0 at the first.
    remat: "none", "dots" or "full" for every block.
  """

  mixers: Sequence[str] = ("ccc", "cccggg", "ggg")
  dims: Sequence[int] = (128, 256, 384)
  heads: Sequence[int] = (4, 8, 12)
  strides: Sequence[Sequence[int]] = ((1, 1), (2, 1))
  mlp_ratio: float = 4.0
  drop_path: float = 0.1
  remat: str = "none"
  dtype: DTypeLike = jnp.float32

  @property
  def width(self) -> int:
    """Width of the tokens."""
    return self.dims[-1]

  @nn.compact
  def __call__(
    self, image: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b m d"]:
    """Encodes images with values in [-1, 1].

    Raises:
      ValueError: if a side does not divide, or the settings of the stages disagree.
    """
    self._check(image.shape[1:3])
    x = Stem(self.dims[0], self.dtype, name="stem")(image, train=train)  # b y x d
    rates = iter(drop_rates(self.drop_path, len("".join(self.mixers))))
    for i, mixers in enumerate(self.mixers):
      if i:
        x = conv(
          self.dims[i], strides=self.strides[i - 1], dtype=self.dtype, name=f"down_{i}"
        )(x)
        x = LayerNorm(1e-5, name=f"norm_{i}")(x)
      for j, mixer in enumerate(mixers):
        x = self._mix(x, mixer, f"stage_{i}_{j}", self.heads[i], next(rates), train)
    return x.reshape(x.shape[0], -1, x.shape[-1])  # b m d

  def _mix(self, x, mixer, name, heads, rate, train):  # noqa: ANN001, ANN202
    settings = {
      "heads": heads,
      "mlp_ratio": self.mlp_ratio,
      "deterministic": not train,
      "dtype": self.dtype,
      "name": name,
    }
    if mixer == "c":
      return rematerialised(ConvBlock, self.remat)(**settings)(x, rate or None)
    block = rematerialised(Block, self.remat)(
      norm_first=False, kernel_init=_LINEAR_INIT, **settings
    )
    tokens = x.reshape(x.shape[0], -1, x.shape[-1])  # b (y x) d
    return block(tokens, rate=rate or None).reshape(x.shape)  # b y x d

  def _check(self, size: tuple[int, ...]) -> None:
    stages = len(self.mixers)
    if not stages == len(self.dims) == len(self.heads) == len(self.strides) + 1:
      raise ValueError(
        f"mixers, dims and heads need one entry per stage and strides one less: "
        f"got {stages}, {len(self.dims)}, {len(self.heads)}, {len(self.strides)}."
      )
    for mixers in self.mixers:
      if set(mixers) - set("cg"):
        raise ValueError(f"mixers = {mixers!r} may hold only the letters c and g.")
    rows, columns = 4, 4
    for down, right in self.strides:
      rows, columns = rows * down, columns * right
    if size[0] % rows or size[1] % columns:
      raise ValueError(
        f"image of {size[0]} x {size[1]} pixels: rows must be a multiple of {rows}, "
        f"columns of {columns}; resize the image."
      )
