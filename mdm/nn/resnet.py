"""Residual networks whose norms come first: images to maps of features.

  y = relu(norm(x));  x' = s(x) + conv(... relu(norm(conv(y))) ...)

s is x itself, or a 1x1 convolution of y where size or width change. Groups of such
blocks follow each other; each after the first halves rows and columns.

ResNet-50 is the default. For images of 32 x 32: stem="small", block="basic", and as few
blocks and channels as there is time for. `groups=3` cuts the network after its third
group, with the norm and rectifier that end it: the part that patches are pretrained
with (*Selfie*, Trinh et al., 2019, section 3.1).

Source: *Identity Mappings in Deep Residual Networks*, He et al., 2016, section 3.
Differences: batch norm keeps the plain variance of a batch, not the one times
n / (n - 1), and takes its statistics over all devices.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.nn.layers import conv

BLOCKS = {"bottleneck": 4, "basic": 1}  # channels of a block's result over its width
STEMS = ("large", "small")
NORMS = ("batch", "group")


class ResNet(nn.Module):
  """Maps of features after the last group: [b y x c] to [b y' x' d].

  Parameters: `stem`, `stage_1` to `stage_4` (the groups, with `block_0`, ...) and the
  last `norm`; of batch norms also running averages, in the collection `batch_stats`.

  Attributes:
    widths: channels inside of each group's blocks.
    depths: blocks of each group.
    groups: how many groups there are; the rest is left out.
    block: "bottleneck" (1x1, 3x3, 1x1, four times as many channels out) or "basic"
      (3x3, 3x3).
    stem: "large" (7x7 by steps of 2, then the largest of 3x3 by steps of 2) or
      "small" (3x3).
    norm: "batch", over all examples of a batch, or "group": 32 groups of channels of
      one example.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  depths: Sequence[int] = (3, 4, 6, 3)
  groups: int = 4
  block: str = "bottleneck"
  stem: str = "large"
  norm: str = "batch"
  dtype: DTypeLike = jnp.float32

  @property
  def width(self) -> int:
    """Channels of the result."""
    return self.widths[self.groups - 1] * BLOCKS[self.block]

  @nn.compact
  def __call__(
    self, image: Float[Array, "b y x c"], *, train: bool = False
  ) -> Float[Array, "b y2 x2 d"]:
    """Rows and columns fall by 8, and by 4 more with a large stem (groups = 4).

    Raises:
      ValueError: a setting that is none.
    """
    self._check()
    side, stride = (3, 1) if self.stem == "small" else (7, 2)
    x = conv(
      self.widths[0],
      side,
      strides=(stride, stride),
      use_bias=False,
      dtype=self.dtype,
      name="stem",
    )(image)
    if self.stem == "large":
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # b y/4 x/4 d
    for i in range(self.groups):
      group = Group(
        self.widths[i],
        depth=self.depths[i],
        stride=2 if i else 1,
        block=self.block,
        norm=self.norm,
        dtype=self.dtype,
        name=f"stage_{i + 1}",
      )
      x = group(x, train=train)
    return rectified(x, self.norm, "norm", train=train)

  def _check(self) -> None:
    check_choice("block", self.block, BLOCKS)
    check_choice("stem", self.stem, STEMS)
    check_choice("norm", self.norm, NORMS)
    if not len(self.widths) == len(self.depths) >= self.groups > 0:
      raise ValueError(
        f"groups = {self.groups} of a network with {len(self.widths)} widths and "
        f"{len(self.depths)} depths; give one of each for every group, and use at "
        "least one."
      )


class Group(nn.Module):
  """`depth` blocks of one width, of which the first may halve rows and columns."""

  width: int
  depth: int
  stride: int = 1
  block: str = "bottleneck"
  norm: str = "batch"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b y2 x2 d"]:
    """All blocks in turn."""
    for i in range(self.depth):
      block = Residual(
        self.width,
        stride=1 if i else self.stride,
        block=self.block,
        norm=self.norm,
        dtype=self.dtype,
        name=f"block_{i}",
      )
      x = block(x, train=train)
    return x


class Residual(nn.Module):
  """One block: a sum of what came in, or a map of it, and two or three convolutions."""

  width: int
  stride: int = 1
  block: str = "bottleneck"
  norm: str = "batch"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b y2 x2 d"]:
    """s(x) + conv(... relu(norm(x)) ...)."""
    out = self.width * BLOCKS[self.block]
    layers = [(self.width, 3, self.stride), (out, 3, 1)]  # channels, side, stride
    if self.block == "bottleneck":
      layers = [(self.width, 1, 1), (self.width, 3, self.stride), (out, 1, 1)]
    first = y = rectified(x, self.norm, "norm_0", train=train)
    for i, (channels, side, stride) in enumerate(layers):
      if i:
        y = rectified(y, self.norm, f"norm_{i}", train=train)
      y = self._conv(channels, side, stride, f"conv_{i}")(y)
    if self.stride == 1 and x.shape[-1] == out:
      return x + y
    return self._conv(out, 1, self.stride, "shortcut")(first) + y

  def _conv(self, channels: int, side: int, stride: int, name: str) -> nn.Conv:
    strides = (stride, stride)
    return conv(
      channels, side, strides=strides, use_bias=False, dtype=self.dtype, name=name
    )


def rectified(
  x: Float[Array, "b y x d"], norm: str, name: str, *, train: bool
) -> Float[Array, "b y x d"]:
  """relu(norm(x)), the norm in float32; to be called inside of a compact method."""
  layer: nn.Module
  if norm == "batch":
    layer = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=jnp.float32,
      name=name,
    )
  else:
    groups = math.gcd(32, x.shape[-1])
    layer = nn.GroupNorm(groups, epsilon=1e-5, dtype=jnp.float32, name=name)
  return nn.relu(layer(x)).astype(x.dtype)
