"""RandAugment of images with classes: a few operations, one after another.

`num_ops` of 15 operations are drawn, the same one perhaps twice, and each is applied
with probability 1/2. One that is applied draws a magnitude m ~ N(magnitude, deviation),
held to 0..10, and a sign +-, evenly; s = m / 10. Published: 2 operations, magnitude 9,
deviation 0.5.

  auto_contrast   stretches each channel to 0..255
  equalize        makes each channel's histogram flat
  invert          255 - x
  rotate          +-30 s degrees about the middle
  posterize       keeps the highest 4 - floor(4 s) bits
  solarize        inverts values of 256 - floor(256 s) and above
  solarize_add    adds floor(110 s) to values below 128
  color           blends by the factor 1 +- 0.9 s with grey,
  contrast        with the mean,
  brightness      with black,
  sharpness       with the smoothed image
  shear_x         row y moves by +-0.3 s y: nothing at the top, most below
  shear_y         column x moves by +-0.3 s x
  translate_x     +-0.45 s of the width
  translate_y     +-0.45 s of the height

Moves keep the image's size, interpolate by cubic weights, and fill with the mean colour
of ImageNet's pixels.

Source: *RandAugment: Practical automated data augmentation with a reduced search
space*, Cubuk et al., 2019, as the public code of *Masked Autoencoders Are Scalable
Vision Learners*, He et al., 2021, fine-tunes: timm's `rand-m9-mstd0.5-inc1`.

Differences:
  - all that is drawn is a function of (seed, place in the stream), not of a process.
  - methods mirror images after this, on the device; there it is done before. Only
    shear_y tells: it holds the left column there, the right one of mirrored ones here.
  - grey images are taken as well: filled with that colour's grey; `color` leaves them
    as they are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageEnhance, ImageOps

from mdm.data import picture_ops
from mdm.data.images import to_picture
from mdm.data.picture_ops import MAX_MAGNITUDE, Move

Operation = Callable[[Image.Image, float, float], Image.Image]  # of s and the sign
MEAN_COLOUR, MEAN_GREY = (124, 116, 104), 117  # 255 * (0.485, 0.456, 0.406); its luma


class Change(NamedTuple):
  """An operation that is applied: its name, strength s in [0, 1], and sign 1 or -1."""

  name: str
  strength: float
  sign: float


def randaugment_images(
  images: UInt8[np.ndarray, "b y x c"],
  index: Int[np.ndarray, "b"],
  *,
  seed: int,
  magnitude: float = 9.0,
  num_ops: int = 2,
  deviation: float = 0.5,
) -> UInt8[np.ndarray, "b y x c"]:
  """Each image with the operations drawn for its place in the stream.

  Args:
    images: c is 1 or 3; they are left as they are.
    index: places in the training stream.
    seed: of the training.
    magnitude: mean, 0 to 10.
    num_ops: operations drawn per image, each applied in one of two cases.
    deviation: of the magnitude.
  """
  changed = np.empty_like(images)
  for k, place in enumerate(index.tolist()):
    rng = picture_ops.make_generator(seed, place)
    changes = draw_changes(
      rng, magnitude=magnitude, num_ops=num_ops, deviation=deviation
    )
    changed[k] = apply_changes(images[k], changes)
  return changed


def draw_changes(
  rng: np.random.Generator,
  *,
  magnitude: float = 9.0,
  num_ops: int = 2,
  deviation: float = 0.5,
) -> list[Change]:
  """The operations that are applied to an image, in order."""
  names = list(OPERATIONS)
  kinds = rng.integers(len(names), size=num_ops).tolist()
  is_applied = rng.random(num_ops) < 0.5
  strengths = rng.normal(magnitude, deviation, num_ops).clip(0, MAX_MAGNITUDE)
  signs = np.where(rng.random(num_ops) < 0.5, 1.0, -1.0)
  return [
    Change(names[kinds[k]], float(strengths[k]) / MAX_MAGNITUDE, float(signs[k]))
    for k in np.flatnonzero(is_applied)
  ]


def apply_changes(
  pixels: UInt8[np.ndarray, "y x c"], changes: list[Change]
) -> UInt8[np.ndarray, "y x c"]:
  """An image after operations, one after another."""
  if not changes:
    return pixels
  picture = to_picture(pixels)
  for change in changes:
    picture = OPERATIONS[change.name](picture, change.strength, change.sign)
  return np.asarray(picture).reshape(pixels.shape)


def _move(picture: Image.Image) -> Move:
  """How moves interpolate, and what they fill with."""
  colour = MEAN_GREY if picture.mode == "L" else MEAN_COLOUR
  return Move(Image.Resampling.BICUBIC, colour)


def _blend_by(
  enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
) -> Operation:
  """Towards the enhancer's blank, or as far beyond the picture."""
  return lambda image, s, sign: picture_ops.blend(enhancer, image, 1 + sign * 0.9 * s)


OPERATIONS: dict[str, Operation] = {
  "auto_contrast": lambda image, s, sign: ImageOps.autocontrast(image),
  "equalize": lambda image, s, sign: ImageOps.equalize(image),
  "invert": lambda image, s, sign: ImageOps.invert(image),
  "rotate": lambda image, s, sign: picture_ops.rotate(
    image, sign * 30 * s, _move(image)
  ),
  "posterize": lambda image, s, sign: picture_ops.posterize(image, 4 - int(4 * s)),
  "solarize": lambda image, s, sign: ImageOps.solarize(image, 256 - int(256 * s)),
  "solarize_add": lambda image, s, sign: picture_ops.solarize_add(image, int(110 * s)),
  "color": _blend_by(ImageEnhance.Color),
  "contrast": _blend_by(ImageEnhance.Contrast),
  "brightness": _blend_by(ImageEnhance.Brightness),
  "sharpness": _blend_by(ImageEnhance.Sharpness),
  "shear_x": lambda image, s, sign: picture_ops.shear(
    image, sign * 0.3 * s, 0.0, _move(image)
  ),
  "shear_y": lambda image, s, sign: picture_ops.shear(
    image, 0.0, sign * 0.3 * s, _move(image)
  ),
  "translate_x": lambda image, s, sign: picture_ops.translate(
    image, sign * 0.45 * s, 0.0, _move(image)
  ),
  "translate_y": lambda image, s, sign: picture_ops.translate(
    image, 0.0, sign * 0.45 * s, _move(image)
  ),
}
