"""What both variants of RandAugment share: pictures changed by amounts that are given.

`randaugment.py` draws the amounts for images of words, `image_randaugment.py` for
images with classes. Moves keep the picture's size unless it is said that they grow.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance

MAX_MAGNITUDE = 10
_STREAM = 0x52414E44  # sets these draws apart from others of the same seed


class Move(NamedTuple):
  """How a move interpolates between pixels, and what it fills with."""

  resample: Image.Resampling
  fillcolor: int | tuple[int, int, int]


def make_generator(seed: int, place: int) -> np.random.Generator:
  """Draws for a place in the training stream."""
  return np.random.default_rng((seed % (1 << 64), place, _STREAM))


def rotate(
  picture: Image.Image, degrees: float, how: Move, *, grows: bool = False
) -> Image.Image:
  """Turns counter-clockwise about the middle.

  Args:
    grows: the frame becomes large enough to hold all of it.
  """
  return picture.rotate(degrees, expand=grows, **how._asdict())


def shear(
  picture: Image.Image, x_per_y: float, y_per_x: float, how: Move
) -> Image.Image:
  """The value at (x, y) is that of (x + x_per_y * y, y + y_per_x * x)."""
  matrix = (1, x_per_y, 0, y_per_x, 1, 0)
  return picture.transform(
    picture.size, Image.Transform.AFFINE, matrix, **how._asdict()
  )


def translate(
  picture: Image.Image, along_x: float, along_y: float, how: Move
) -> Image.Image:
  """The value at (x, y) is that of (x + along_x * width, y + along_y * height)."""
  matrix = (1, 0, along_x * picture.width, 0, 1, along_y * picture.height)
  return picture.transform(
    picture.size, Image.Transform.AFFINE, matrix, **how._asdict()
  )


def posterize(picture: Image.Image, bits: int) -> Image.Image:
  """Keeps the highest bits of each value; without any it is black."""
  table = [value & (0xFF00 >> bits) for value in range(256)]
  return picture.point(table * len(picture.getbands()))


def solarize_add(picture: Image.Image, amount: int) -> Image.Image:
  """Adds to values below 128."""
  table = [min(255, value + amount * (value < 128)) for value in range(256)]
  return picture.point(table * len(picture.getbands()))


def blend(
  enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
  picture: Image.Image,
  factor: float,
) -> Image.Image:
  """Between the enhancer's blank (factor 0) and the picture (1), or beyond it."""
  return enhancer(picture).enhance(factor)
