"""RandAugment of word images: a few operations without repeats, one after another.

Of 16 operations `num_ops` distinct ones are drawn in random order, and each is applied
with probability 1/2, at a fixed strength s = magnitude / 10. A sign +- is drawn evenly;
geometry interpolates bilinearly or bicubically, drawn evenly, and fills with grey 128.
At the published magnitude 5 (s = 0.5), with 3 operations of which 1.5 are applied:

  auto_contrast   stretches each channel to 0..255
  equalize        makes each channel's histogram flat
  invert          255 - x
  rotate          +-30 s degrees (15), the frame grows to hold all of it
  posterize       keeps the highest 4 - floor(4 s) bits (2)
  solarize        inverts values of 256 - floor(256 s) (128) and above
  solarize_add    adds floor(110 s) (55) to values below 128
  color           blends with grey, contrast with the mean, brightness with black, by
  contrast        the factor 1 +- 0.9 s (0.55 or 1.45)
  brightness
  shear_x         row y moves by +-0.9 s y (0.45 y): nothing at the top, most below
  shear_y         column x moves by +-0.2 s x (0.1 x)
  translate_x     +-0.1 s of the width (5%)
  translate_y     +-0.3 s of the height (15%)
  gaussian_blur   deviation 4 s (2) pixels, at most max(1, 2% of the longer side);
                  rounded
  poisson_noise   +-k with k Poisson of mean 40 s (20), at most max(1, 20% of the longer
                  side), rounded and made odd; one draw per pixel for all channels

At magnitude 0 the first three, the four bits of posterize and noise of mean 1 remain.

Source: *RandAugment: Practical automated data augmentation with a reduced search
space*, Cubuk et al., 2019, with the operations and strengths of *Scene Text Recognition
with Permuted Autoregressive Sequence Models* (PARSeq), Bautista and Atienza, 2022, as
in its public code, which MDiff4STR, 2025, uses unchanged.

Differences:
  - all that is drawn is a function of (seed, place in the stream), not of a process.
  - an image that a rotation makes too square for its bucket is changed anew; there
    another image of the bucket takes its place. (With 15 degrees that is every rotation
    in the widest bucket but of words 14 times as wide as high: they stay upright.)
  - grey images are taken as well; `color` leaves them as they are.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, Int16, UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mdm.data import picture_ops
from mdm.data.images import suits_bucket, to_picture
from mdm.data.picture_ops import MAX_MAGNITUDE, Move

Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]
_QUANTILES = 1 << 15
_TRIES = 8  # one in ten changes rotates
_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def randaugment(
  images: Sequence[UInt8[np.ndarray, "_ _ c"]],
  index: Int[np.ndarray, "b"],
  *,
  seed: int,
  magnitude: float = 5.0,
  num_ops: int = 3,
  ratios: Sequence[int] | None = None,
) -> list[UInt8[np.ndarray, "_ _ c"]]:
  """Each image with `num_ops` of the operations drawn for its place in the stream.

  An image keeps its size unless it is rotated.

  Args:
    images: of any sizes; c is 1 or 3.
    index: places in the training stream.
    seed: of the training.
    magnitude: 0 to 10.
    num_ops: distinct operations drawn per image, each applied in one of two cases.
    ratios: width over height of the buckets that the images go to, rounded down; an
      image that no longer suits its own is changed anew. None takes any shape.
  """
  wanted = [None] * len(images) if ratios is None else ratios
  changed = []
  for pixels, place, ratio in zip(images, index.tolist(), wanted, strict=True):
    rng = picture_ops.make_generator(seed, place)
    for _ in range(_TRIES):
      found = change_image(pixels, rng, magnitude=magnitude, num_ops=num_ops)
      if ratio is None or suits_bucket(found.shape[1], found.shape[0], ratio):
        break
    else:
      found = pixels
    changed.append(found)
  return changed


def change_image(
  pixels: UInt8[np.ndarray, "y x c"],
  rng: np.random.Generator,
  *,
  magnitude: float = 5.0,
  num_ops: int = 3,
) -> UInt8[np.ndarray, "rows columns c"]:
  """One image with `num_ops` distinct operations drawn by `rng`."""
  order = rng.permutation(len(OPERATIONS))[:num_ops].tolist()
  picture = to_picture(pixels)
  operations = tuple(OPERATIONS.values())
  for k, is_applied in zip(order, rng.random(num_ops) < 0.5, strict=True):
    if is_applied:
      picture = operations[k](picture, magnitude / MAX_MAGNITUDE, rng)
  return np.asarray(picture).reshape(picture.height, picture.width, pixels.shape[2])


def _sign(rng: np.random.Generator) -> float:
  """1 or -1, evenly."""
  return 1.0 if rng.random() < 0.5 else -1.0


def _move(picture: Image.Image, rng: np.random.Generator) -> Move:
  """How a move interpolates, and what it fills with."""
  grey = 128 if picture.mode == "L" else (128, 128, 128)
  return Move(_FILTERS[rng.integers(2)], grey)


def _rotate(
  picture: Image.Image, degrees: float, rng: np.random.Generator
) -> Image.Image:
  """Turns either way; the frame grows to hold all of it."""
  sign = _sign(rng)
  return picture_ops.rotate(picture, degrees * sign, _move(picture, rng), grows=True)


def _shear(
  picture: Image.Image, x_per_y: float, y_per_x: float, rng: np.random.Generator
) -> Image.Image:
  """Shears either way."""
  sign = _sign(rng)
  return picture_ops.shear(picture, sign * x_per_y, sign * y_per_x, _move(picture, rng))


def _translate(
  picture: Image.Image, along_x: float, along_y: float, rng: np.random.Generator
) -> Image.Image:
  """Moves by shares of width and height, either way."""
  sign = _sign(rng)
  return picture_ops.translate(
    picture, sign * along_x, sign * along_y, _move(picture, rng)
  )


def _blend(
  enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
  picture: Image.Image,
  most: float,
  rng: np.random.Generator,
) -> Image.Image:
  """Towards the enhancer's blank, or as far beyond the picture."""
  return picture_ops.blend(enhancer, picture, 1 + most * _sign(rng))


def _bound(value: float, picture: Image.Image, share: float) -> int:
  """The value held to a share of the longer side, or to 1 where that is less."""
  return round(min(value, max(1, share * max(picture.size))))


def _add_noise(
  picture: Image.Image, mean: float, rng: np.random.Generator
) -> Image.Image:
  """Adds or takes away a Poisson number at each pixel."""
  pixels = np.asarray(picture)
  plane = (picture.height, picture.width, *(1,) * (pixels.ndim - 2))
  table = _signed_poisson(_bound(mean, picture, 0.2) | 1)
  noise = table[rng.integers(len(table), size=plane, dtype=np.uint16)]
  return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


@functools.lru_cache(maxsize=32)
def _signed_poisson(mean: int) -> Int16[np.ndarray, "n"]:
  """Quantiles of a Poisson number and their negatives; an even draw has its law."""
  k = np.arange(8 * mean + 32)
  log_factorial = np.cumsum(np.log(np.maximum(k, 1)))
  cumulative = np.cumsum(np.exp(k * math.log(mean) - mean - log_factorial))
  steps = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
  above = np.searchsorted(cumulative, steps).astype(np.int16)
  return np.concatenate([above, -above])


OPERATIONS: dict[str, Operation] = {
  "auto_contrast": lambda image, s, rng: ImageOps.autocontrast(image),
  "equalize": lambda image, s, rng: ImageOps.equalize(image),
  "invert": lambda image, s, rng: ImageOps.invert(image),
  "rotate": lambda image, s, rng: _rotate(image, 30 * s, rng),
  "posterize": lambda image, s, rng: picture_ops.posterize(image, 4 - int(4 * s)),
  "solarize": lambda image, s, rng: ImageOps.solarize(image, 256 - int(256 * s)),
  "solarize_add": lambda image, s, rng: picture_ops.solarize_add(image, int(110 * s)),
  "color": lambda image, s, rng: _blend(ImageEnhance.Color, image, 0.9 * s, rng),
  "contrast": lambda image, s, rng: _blend(ImageEnhance.Contrast, image, 0.9 * s, rng),
  "brightness": lambda image, s, rng: _blend(
    ImageEnhance.Brightness, image, 0.9 * s, rng
  ),
  "shear_x": lambda image, s, rng: _shear(image, 0.9 * s, 0.0, rng),
  "shear_y": lambda image, s, rng: _shear(image, 0.0, 0.2 * s, rng),
  "translate_x": lambda image, s, rng: _translate(image, 0.1 * s, 0.0, rng),
  "translate_y": lambda image, s, rng: _translate(image, 0.0, 0.3 * s, rng),
  "gaussian_blur": lambda image, s, rng: image.filter(
    ImageFilter.GaussianBlur(_bound(4 * s, image, 0.02))
  ),
  "poisson_noise": lambda image, s, rng: _add_noise(image, 40 * s, rng),
}
