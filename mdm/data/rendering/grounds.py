"""What lies behind a word, and what a poor camera does to it: textures, blur, noise."""

import functools
import io

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageFilter

from mdm.data.images import to_picture

Plane = Float32[np.ndarray, "y x"]
Pixels = Float32[np.ndarray, "y x c"]


def draw_ground(
  rng: np.random.Generator, rows: int, columns: int, strength: float
) -> Plane:
  """A texture in [-1, 1]: flat, a gradient, clouds, stripes or plates, at random."""
  kind, size, angle, phase = rng.random(4).tolist()
  if kind < 1 - 0.85 * strength:
    return np.zeros((rows, columns), np.float32)
  v, u = _axes(rows, columns)
  slope = np.float32(np.cos(6.28 * angle)) * u + np.float32(np.sin(6.28 * angle)) * v
  kind = (1 - kind) / 0.85 / strength  # uniform again
  if kind < 0.3:
    return slope * np.float32(0.7)
  if kind < 0.75:
    return clouds(rng, rows, columns, cells=2 + int(8 * size))
  if kind < 0.88:
    wave = np.sin(slope * np.float32(4 + 20 * size) + np.float32(6.28 * phase))
    return np.float32(0.6) * wave
  return np.where(slope > phase - 0.5, np.float32(0.7), np.float32(-0.4))


def clouds(rng: np.random.Generator, rows: int, columns: int, cells: int) -> Plane:
  """Smooth noise: a few random values across the image, interpolated."""
  coarse = rng.integers(0, 256, (max(2, cells // 2), cells + 1), dtype=np.uint8)
  fine = Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC)
  return np.asarray(fine, np.float32) * np.float32(2 / 255) - np.float32(1)


@functools.lru_cache(maxsize=16)
def _axes(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
  """A column and a row that run from -1 to 1."""
  v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
  return v, np.linspace(-1, 1, columns, dtype=np.float32)[None]


def low_quality(rng: np.random.Generator, image: Pixels, strength: float) -> Pixels:
  """Blurs, loses resolution, adds noise and JPEG blocks, each now and then."""
  if strength == 0:
    return image
  blur, coarse, noise, block, amount = rng.random(5).tolist()
  soft = blur < 0.5 * strength
  rough = coarse < 0.25 * strength
  blocky = block < 0.1 * strength
  if soft or rough or blocky:
    picture = _to_picture(image)
    if soft:
      picture = _blur(rng, picture, amount * strength)
    if rough:
      picture = _lose_resolution(picture, 1 - 0.5 * strength * coarse / 0.25)
    if blocky:
      picture = _compress(picture, round(60 - 40 * amount))
    image = np.asarray(picture, np.float32).reshape(image.shape)
  if noise < 0.7 * strength:
    deviation = np.float32(22 * noise)  # up to 15 of 255
    image = image + deviation * rng.standard_normal(image.shape, np.float32)
  return image


def _to_picture(image: Pixels) -> Image.Image:
  """A Pillow image of the pixels."""
  pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
  return to_picture(pixels)


def _blur(rng: np.random.Generator, picture: Image.Image, amount: float) -> Image.Image:
  """Out of focus, or a short movement along the line or across it."""
  unit = picture.height / 32  # radii grow with the image
  kind = rng.random()
  if kind < 0.6:
    return picture.filter(ImageFilter.GaussianBlur((0.3 + 0.9 * amount) * unit))
  radius = (0.4 + 1.1 * amount) * unit
  along = kind < 0.85
  return picture.filter(
    ImageFilter.BoxBlur((radius, 0) if along else (0, radius * 0.7))
  )


def _lose_resolution(picture: Image.Image, share: float) -> Image.Image:
  """The picture as a smaller one would look when enlarged."""
  small = (max(4, round(picture.width * share)), max(4, round(picture.height * share)))
  resample = Image.Resampling.BILINEAR
  return picture.resize(small, resample).resize(picture.size, resample)


def _compress(picture: Image.Image, quality: int) -> Image.Image:
  """The picture after JPEG."""
  store = io.BytesIO()
  picture.save(store, "JPEG", quality=quality)
  return Image.open(store)
