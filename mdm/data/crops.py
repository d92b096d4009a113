"""From a decoded image to one size: the middle, the whole stretched, or a random part.

A part is cut out first and scaled then, by Pillow's antialiased cubic weights; nothing
outside the part has an influence.

Source: the crop of *Going Deeper with Convolutions*, Szegedy et al., 2014, section 6,
as RandomResizedCrop of torchvision has it: ten tries, then the largest middle part
whose ratio is allowed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mdm.data.images import Pixels, to_picture

TRIES = 10


class Box(NamedTuple):
  """A part of an image: its first row and column, its rows and columns."""

  top: int
  left: int
  rows: int
  columns: int


def cut_and_scale(
  pixels: Pixels, box: Box, size: tuple[int, int]
) -> UInt8[np.ndarray, "u v c"]:
  """The part of an image, scaled to rows and columns."""
  top, left, rows, columns = box
  part = pixels[top : top + rows, left : left + columns]
  if (rows, columns) == tuple(size):
    return part
  picture = to_picture(np.ascontiguousarray(part))
  picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
  return np.asarray(picture).reshape(*size, pixels.shape[2])


def middle_box(shape: tuple[int, int], size: tuple[int, int], share: float) -> Box:
  """The largest middle part of the proportions of `size`, its sides times `share`."""
  scale = share * min(shape[0] / size[0], shape[1] / size[1])
  rows = max(1, min(round(scale * size[0]), shape[0]))
  columns = max(1, min(round(scale * size[1]), shape[1]))
  return Box((shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns)


def draw_box(
  rng: np.random.Generator,
  shape: tuple[int, int],
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> Box:
  """A part whose share of the area and ratio of width to height are drawn.

  Args:
    scale: bounds of the share, uniform.
    ratio: bounds of the ratio, uniform in its logarithm.
  """
  area = rng.uniform(scale[0], scale[1], TRIES) * shape[0] * shape[1]
  ratios = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), TRIES))
  rows = np.rint(np.sqrt(area / ratios)).astype(int)
  columns = np.rint(np.sqrt(area * ratios)).astype(int)
  fits = (rows > 0) & (columns > 0) & (rows <= shape[0]) & (columns <= shape[1])
  if not fits.any():
    return _largest_middle(shape, ratio)
  k = int(fits.argmax())
  top = int(rng.integers(shape[0] - rows[k] + 1))
  left = int(rng.integers(shape[1] - columns[k] + 1))
  return Box(top, left, int(rows[k]), int(columns[k]))


def _largest_middle(shape: tuple[int, int], ratio: tuple[float, float]) -> Box:
  """The largest middle part whose ratio lies within its bounds."""
  wanted = min(max(shape[1] / shape[0], ratio[0]), ratio[1])
  rows = max(1, min(shape[0], round(shape[1] / wanted)))
  columns = max(1, min(shape[1], round(shape[0] * wanted)))
  return Box((shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns)
