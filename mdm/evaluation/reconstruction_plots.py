"""How a method fills images in: each, what is seen of it, what is made of that.

The last column tells the error of each hidden patch as the method measures it. Its
scale is the same in every picture: pale at 0, dark from 1 on, the squared error of
someone who knows no more of targets of variance 1 than their mean.
"""

import math

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from mdm.evaluation.image_plots import HIDDEN, PAPER, draw_table
from mdm.methods.image.mae import Reconstruction

TITLES = ("image", "masked", "reconstruction", "error: 0 to 1")
LEVELS = (0.0, 0.5, 1.0)
COLORS = ((253, 240, 214), (237, 125, 58), (84, 6, 42))


def draw_reconstructions(found: Reconstruction) -> Image.Image:
  """A row to each image: whole, masked in grey, filled in, and where it errs.

  Raises:
    ValueError: there is no image, or they are neither grey nor colour.
  """
  shape = found.image.shape[1:3]
  image, filled = (to_bytes(np.asarray(x)) for x in (found.image, found.filled))
  hidden = spread(np.asarray(found.mask), shape)[..., None]  # b y x 1
  masked = np.where(hidden, np.uint8(HIDDEN), image)
  error = color_errors(spread(np.asarray(found.error), shape))  # b y x 3
  error = np.where(hidden, error, np.uint8(PAPER))
  if image.shape[-1] == 1:
    image, masked, filled = (x.repeat(3, -1) for x in (image, masked, filled))
  return draw_table(list(zip(image, masked, filled, error, strict=True)), TITLES)


def to_bytes(image: Float[np.ndarray, "*dims"]) -> UInt8[np.ndarray, "*dims"]:
  """Values in [0, 1] as 0..255."""
  return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def spread(
  patches: Float[np.ndarray, "b n"] | Bool[np.ndarray, "b n"], shape: tuple[int, ...]
) -> Float[np.ndarray, "b y x"] | Bool[np.ndarray, "b y x"]:
  """A value of each square patch, in raster order, at all of its pixels.

  Args:
    patches: the values.
    shape: rows and columns of the images.
  """
  rows, columns = shape
  side = math.isqrt(rows * columns // patches.shape[1])
  grid = patches.reshape(len(patches), rows // side, columns // side)
  return grid.repeat(side, axis=1).repeat(side, axis=2)


def color_errors(error: Float[np.ndarray, "*dims"]) -> UInt8[np.ndarray, "*dims 3"]:
  """Errors as colours: pale at 0, dark from 1 on."""
  parts = [np.interp(error, LEVELS, levels) for levels in zip(*COLORS, strict=True)]
  return np.rint(np.stack(parts, axis=-1)).astype(np.uint8)
