"""Augmentation on the device: pure functions of one key per example.

Images are floats in [0, 1], [b y x c]. What happens to an example depends on its key
alone, so not on batch order, devices or micro-batches. Give every function keys of its
own (`masks.keys.split_keys`): the same keys twice would tie a flip to a crop.

A part of an image is scaled by two small matrices, one over rows and one over columns:

  out[u, v] = sum_yx R[u, y] C[v, x] image[y, x],   R[u, y] ~ k((y - y_u) / max(s, 1))

with y_u the place of output row u, s input rows per output row, and rows of R that sum
to 1. The kernel k widens where the image shrinks (antialiasing) and does not look
beyond the part: the convention of Pillow's `resize` of a crop, of torchvision with
`antialias=True` and of `jax.image.scale_and_translate`.

Source: *Going Deeper with Convolutions*, Szegedy et al., 2014, section 6 (the crop);
*Wide Residual Networks*, Zagoruyko and Komodakis, 2016 (pad and crop).
Differences: brightness, contrast and saturation come in this order, where torchvision
draws an order; hue is left alone.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from mdm.masks.keys import uniform_rows

Images = Float[Array, "b y x c"]
Bounds = tuple[float, float]
TRIES = 10
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow makes grey
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


class Boxes(NamedTuple):
  """A part of each image: its first row and column, its rows and columns."""

  top: Int[Array, "b"]
  left: Int[Array, "b"]
  rows: Int[Array, "b"]
  columns: Int[Array, "b"]


def normalise(
  image: UInt8[Array, "*b y x c"] | Float[Array, "*b y x c"],
  mean: Sequence[float] | float = 0.0,
  std: Sequence[float] | float = 1.0,
) -> Float[Array, "*b y x c"]:
  """Pixels 0..255, or floats in [0, 1], less the mean, over the standard deviation.

  Args:
    mean: of values in [0, 1], per channel or of all.
    std: likewise. By default the result is the float image in [0, 1].
  """
  if image.dtype == jnp.uint8:
    image = image.astype(jnp.float32) / 255
  return (image - jnp.asarray(mean)) / jnp.asarray(std)


def random_resized_crop(
  keys: Key[Array, "b"],
  image: Images,
  *,
  size: tuple[int, int],
  scale: Bounds = (0.2, 1.0),
  ratio: Bounds = (3 / 4, 4 / 3),
  method: str = "bicubic",
) -> Float[Array, "b u v c"]:
  """A random part of each image, scaled to rows and columns `size`.

  Args:
    scale: bounds of the part's share of the area, uniform.
    ratio: bounds of its width over its height, uniform in the logarithm.
    method: "bicubic" or "bilinear".

  Raises:
    ValueError: an unknown method or bounds that are none.
  """
  boxes = draw_boxes(keys, (image.shape[1], image.shape[2]), scale, ratio=ratio)
  return crop_and_resize(image, boxes, size, method=method)


def draw_boxes(
  keys: Key[Array, "b"],
  shape: tuple[int, int],
  scale: Bounds,
  *,
  ratio: Bounds,
) -> Boxes:
  """Parts by the first of ten draws that fits; else the largest middle one allowed.

  Raises:
    ValueError: bounds that are not 0 < low <= high, or shares above 1.
  """
  _check_bounds("scale", scale, 1.0)
  _check_bounds("ratio", ratio, np.inf)
  draws = uniform_rows(keys, 2 * TRIES + 2)  # b 22
  areas, ratios = draws[:, :TRIES], draws[:, TRIES : 2 * TRIES]
  areas = (scale[0] + (scale[1] - scale[0]) * areas) * shape[0] * shape[1]
  low, high = np.log(ratio[0]), np.log(ratio[1])
  ratios = jnp.exp(low + (high - low) * ratios)
  rows = jnp.rint(jnp.sqrt(areas / ratios)).astype(jnp.int32)  # b 10
  columns = jnp.rint(jnp.sqrt(areas * ratios)).astype(jnp.int32)
  fits = (rows > 0) & (columns > 0) & (rows <= shape[0]) & (columns <= shape[1])
  first, has_one = fits.argmax(axis=1)[:, None], fits.any(axis=1)
  most = _largest_middle(shape, ratio)
  rows = jnp.where(has_one, jnp.take_along_axis(rows, first, axis=1)[:, 0], most[0])
  columns = jnp.where(
    has_one, jnp.take_along_axis(columns, first, axis=1)[:, 0], most[1]
  )
  at = jnp.where(has_one[:, None], draws[:, 2 * TRIES :], 0.5)
  top, left = _place(at[:, 0], shape[0] - rows), _place(at[:, 1], shape[1] - columns)
  return Boxes(top, left, rows, columns)


def crop_and_resize(
  image: Images, boxes: Boxes, size: tuple[int, int], *, method: str = "bicubic"
) -> Float[Array, "b u v c"]:
  """Parts of images scaled to one size, within [0, 1]."""
  if method not in KERNELS:
    raise ValueError(f"method = {method!r} is unknown; write {' or '.join(KERNELS)}.")
  rows = resize_weights(boxes.top, boxes.rows, (image.shape[1], size[0]), method)
  columns = resize_weights(boxes.left, boxes.columns, (image.shape[2], size[1]), method)
  exact = jax.lax.Precision.HIGHEST
  scaled = jnp.einsum("buy,byxc->buxc", rows, image, precision=exact)
  scaled = jnp.einsum("bvx,buxc->buvc", columns, scaled, precision=exact)
  return jnp.clip(scaled, 0, 1)


def resize_weights(
  first: Int[Array, "b"], count: Int[Array, "b"], sizes: tuple[int, int], method: str
) -> Float[Array, "b u y"]:
  """What each input row contributes to each output row; rows sum to 1.

  Args:
    first: the part's first row.
    count: its rows.
    sizes: rows of the image, rows of the output.
  """
  step = (count / sizes[1])[:, None, None]
  places = (jnp.arange(sizes[1]) + 0.5)[:, None] * step + first[:, None, None] - 0.5
  inputs = jnp.arange(sizes[0])
  weights = KERNELS[method](jnp.abs(inputs - places) / jnp.maximum(step, 1))  # b u y
  inside = (inputs >= first[:, None]) & (inputs < (first + count)[:, None])  # b y
  weights = jnp.where(inside[:, None, :], weights, 0)
  return weights / weights.sum(axis=-1, keepdims=True)


def random_flip(keys: Key[Array, "b"], image: Images, rate: float = 0.5) -> Images:
  """Mirrors each image left to right with probability `rate`."""
  flips = uniform_rows(keys, 1)[:, :, None, None] < rate
  return jnp.where(flips, image[:, :, ::-1], image)


def pad_crop(keys: Key[Array, "b"], image: Images, pad: int) -> Images:
  """Moves each image by up to `pad` rows and columns; what comes in is black."""
  rows, columns = image.shape[1:3]
  moves = uniform_rows(keys, 2) * (2 * pad + 1)
  moves = jnp.minimum(moves.astype(jnp.int32), 2 * pad)  # b 2
  padded = jnp.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  inputs = (rows, columns, image.shape[3])
  starts = jnp.pad(moves, ((0, 0), (0, 1)))  # b 3
  cut = functools.partial(jax.lax.dynamic_slice, slice_sizes=inputs)
  return jax.vmap(cut)(padded, starts)


def color_jitter(
  keys: Key[Array, "b"],
  image: Images,
  *,
  brightness: float = 0.4,
  contrast: float = 0.4,
  saturation: float = 0.4,
) -> Images:
  """Brightness, contrast and saturation times factors of [1 - strength, 1 + strength].

  Contrast is the distance from the image's mean grey, saturation that from each pixel's
  grey; values stay within [0, 1].
  """
  strengths = jnp.asarray([brightness, contrast, saturation])
  factors = 1 + strengths * (2 * uniform_rows(keys, 3) - 1)
  factors = jnp.maximum(factors, 0)[:, :, None, None, None]  # b 3 1 1 1
  image = jnp.clip(factors[:, 0] * image, 0, 1)
  image = _blend(image, _grey(image).mean(axis=(1, 2), keepdims=True), factors[:, 1])
  return _blend(image, _grey(image), factors[:, 2])


def _blend(image: Images, other: Array, factor: Array) -> Images:
  """The image at a distance `factor` from another."""
  return jnp.clip(other + factor * (image - other), 0, 1)


def _grey(image: Images) -> Float[Array, "b y x 1"]:
  """Each pixel's grey."""
  if image.shape[3] == 1:
    return image
  return (image * jnp.asarray(LUMA)).sum(axis=3, keepdims=True)


def _place(draw: Float[Array, "b"], room: Int[Array, "b"]) -> Int[Array, "b"]:
  """A whole number from 0 to `room`, each as likely."""
  return jnp.minimum((draw * (room + 1)).astype(jnp.int32), room)


def _largest_middle(shape: tuple[int, int], ratio: Bounds) -> tuple[int, int]:
  """Rows and columns of the largest part whose ratio lies within its bounds."""
  wanted = min(max(shape[1] / shape[0], ratio[0]), ratio[1])
  rows = max(1, min(shape[0], round(shape[1] / wanted)))
  return rows, max(1, min(shape[1], round(shape[0] * wanted)))


def _check_bounds(name: str, bounds: Bounds, top: float) -> None:
  """Raises ValueError for bounds that are none."""
  if not 0 < bounds[0] <= bounds[1] <= top:
    raise ValueError(
      f"{name} = {bounds} must be two numbers above 0, the lesser first"
      + (", at most 1." if top == 1 else ".")
    )


def _triangle(distance: Array) -> Array:
  """The bilinear kernel."""
  return jnp.maximum(1 - distance, 0)


def _cubic(distance: Array) -> Array:
  """The bicubic kernel of Keys with a = -1/2, as in Pillow."""
  near = (1.5 * distance - 2.5) * distance**2 + 1
  far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
  return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))


KERNELS = {"bicubic": _cubic, "bilinear": _triangle}
