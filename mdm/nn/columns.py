"""A tiny reader's encoder: one token for each column of the image.

A line of text runs from left to right, so a token needs to see all rows of a few
columns: a small stem of strided convolutions or overlapping windows as high as the
image, a linear map, and a few pre-norm blocks, of which the first may look no further
than the next column. A quarter of the tokens of a grid of patches, so that a reader
trains on a processor without accelerator.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.nn.layers import LayerNorm, Linear, Mlp, activation, conv, named
from mdm.nn.positions import sinusoids
from mdm.nn.transformer import Transformer

POSITIONS = ("sinusoid", "learned")


def column_windows(
  image: Float[Array, "b y x c"], window: int, stride: int
) -> Float[Array, "b m f"]:
  """Full-height windows of `window` columns around every `stride`-th, flattened.

  The image is padded with zeros left and right so that there are x / stride windows.

  Raises:
    ValueError: if `stride` divides not the window or not the image's columns.
  """
  b, y, x, c = image.shape
  if window % stride or x % stride:
    raise ValueError(
      f"stride = {stride} must divide window = {window} and the {x} columns it reads."
    )
  left = (window - stride) // 2
  pad = [(0, 0), (0, 0), (left, window - stride - left), (0, 0)]
  strips = jnp.pad(image, pad).reshape(b, y, -1, stride * c)
  strips = jnp.moveaxis(strips, 1, 2).reshape(b, -1, y * stride * c)  # b m+ f
  count = x // stride
  parts = [strips[:, i : i + count] for i in range(window // stride)]
  return jnp.concatenate(parts, axis=-1)  # b m f


class Neighbours(nn.Module):
  """A pre-norm layer in which a column sees the one before and the one after."""

  mlp_ratio: float = 4.0
  activation: str = "gelu"
  dropout: float = 0.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b m d"], *, train: bool) -> Float[Array, "b m d"]:
    """Adds a width-3 convolution along the columns, then an MLP."""
    width = x.shape[-1]
    y = jnp.pad(LayerNorm(name="norm_mix")(x), ((0, 0), (1, 1), (0, 0)))
    y = jnp.concatenate([y[:, :-2], y[:, 1:-1], y[:, 2:]], axis=-1)  # b m 3d
    mix = Linear((width,), ("embed", "mlp"), dtype=self.dtype, name="mix")
    x = x + nn.Dropout(self.dropout, deterministic=not train)(mix(y))
    mlp = Mlp(
      round(width * self.mlp_ratio),
      self.activation,
      self.dropout,
      dtype=self.dtype,
      name="mlp",
    )
    return x + mlp(LayerNorm(name="norm_mlp")(x), train=train)


class Columns(nn.Module):
  """Image to one token for every `stride` columns.

  Attributes:
    window: columns in one window, a multiple of `stride`. With a stem both count the
      columns the stem leaves.
    stem: channels of 3x3 convolutions of stride 2 before the windows; () for none.
    neighbours: layers that mix adjacent columns, before the `depth` that attend.
    positions: "sinusoid" works for every image width, "learned" for one.
  """

  width: int = 128
  depth: int = 3
  heads: int = 4
  window: int = 8
  stride: int = 4
  stem: Sequence[int] = ()
  neighbours: int = 0
  activation: str = "gelu"
  mlp_ratio: float = 4.0
  dropout: float = 0.0
  drop_path: float = 0.0
  positions: str = "sinusoid"
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, image: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b m d"]:
    """Encodes images with values in [-1, 1]."""
    x = image.astype(self.dtype)
    for i, channels in enumerate(self.stem):
      x = conv(channels, strides=(2, 2), dtype=self.dtype, name=f"stem_{i}")(x)
      x = activation(self.activation)(LayerNorm(name=f"stem_norm_{i}")(x))
    x = column_windows(x, self.window, self.stride)  # b m f
    x = Linear((self.width,), (None, "embed"), dtype=self.dtype, name="embed")(x)
    x = x + self._positions(x.shape[1]).astype(self.dtype)  # b m d
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    for i in range(self.neighbours):
      x = Neighbours(
        self.mlp_ratio,
        self.activation,
        self.dropout,
        dtype=self.dtype,
        name=f"neighbours_{i}",
      )(x, train=train)
    blocks = Transformer(
      depth=self.depth,
      heads=self.heads,
      activation=self.activation,
      mlp_ratio=self.mlp_ratio,
      dropout=self.dropout,
      drop_path=self.drop_path,
      remat=self.remat,
      scan=self.scan,
      dtype=self.dtype,
      name="blocks",
    )
    return blocks(x, train=train)  # b m d

  def _positions(self, count: int) -> Float[Array, "m d"]:
    if self.positions == "sinusoid":
      return jnp.asarray(sinusoids(count, self.width))
    if self.positions == "learned":
      init = named(nn.initializers.normal(0.02), None, "embed")
      return self.param("position", init, (count, self.width))
    raise ValueError(f"positions = {self.positions!r}; choose one of {POSITIONS}.")
