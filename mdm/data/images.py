"""Images from files to pixels of one size, and the sizes by aspect ratio.

Images are stretched to their size without padding, as the paper does. Photographs that
say how the camera was held are turned upright first.

Source: MDiff4STR, Mask Diffusion Model for Scene Text Recognition, 2025, image side;
buckets after OpenOCR's ratio data set.
"""

import io
import os
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = UInt8[np.ndarray, "y x c"]
BUCKETS = {1: (64, 64), 2: (96, 48), 3: (112, 40), 4: (128, 32)}  # ratio: width, height
MAX_RATIO = 4
ORIENTATION, QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # of EXIF
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
REMEDY = "give a whole PNG, JPEG, BMP, GIF, WebP, TIFF or PPM image"


def read_image(
  path: str | os.PathLike[str],
  *,
  image_size: tuple[int, int] | None = None,
  channels: int = 1,
) -> Pixels:
  """Pixels of an image file, stretched to `image_size` (None keeps its own).

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is empty, no image, or cut off.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"image {path} does not exist; {REMEDY}.")
  return decode_image(
    path.read_bytes(), name=str(path), image_size=image_size, channels=channels
  )


def decode_image(
  content: bytes,
  *,
  name: str,
  image_size: tuple[int, int] | None = None,
  channels: int = 1,
) -> Pixels:
  """Pixels of encoded bytes; `name` is what errors call them.

  Raises:
    ValueError: the bytes are empty, no image, or cut off.
  """
  if not content:
    raise ValueError(f"image {name} is empty (0 bytes); {REMEDY}.")
  try:
    with Image.open(io.BytesIO(content)) as picture:
      picture.load()
      ImageOps.exif_transpose(picture, in_place=True)
      return fit_picture(picture, image_size, channels)
  except UnidentifiedImageError as error:
    raise ValueError(f"image {name} is of no known image format; {REMEDY}.") from error
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise ValueError(f"image {name} cannot be decoded ({error}); {REMEDY}.") from error


def image_shape(content: bytes, name: str) -> tuple[int, int]:
  """Rows and columns of encoded bytes, from the header alone, turned as it says."""
  try:
    with Image.open(io.BytesIO(content)) as picture:
      is_turned = picture.getexif().get(ORIENTATION, 1) in QUARTER_TURNS
      shape = picture.height, picture.width
      return shape[::-1] if is_turned else shape
  except Image.DecompressionBombError as error:
    raise ValueError(f"image {name} cannot be decoded ({error}); {REMEDY}.") from error
  except (OSError, SyntaxError, ValueError) as error:
    raise ValueError(f"image {name} is of no known image format; {REMEDY}.") from error


def fit_picture(
  picture: Image.Image, image_size: tuple[int, int] | None, channels: int
) -> Pixels:
  """Grey or colour, over white where it is transparent, stretched by cubic weights."""
  if 0 in picture.size:
    raise ValueError(f"it has {picture.width} x {picture.height} pixels")
  if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(ground, picture)
  if picture.mode.startswith(("I", "F")):  # 16-bit: `convert` would clip, not scale
    values = np.asarray(picture, np.float64)
    top = 65535 if values.max() > 255 else 255
    picture = Image.fromarray((values * (255 / top)).astype(np.uint8))
  picture = picture.convert("L" if channels == 1 else "RGB")
  if image_size is not None and (picture.height, picture.width) != tuple(image_size):
    rows, columns = image_size
    picture = picture.resize((columns, rows), Image.Resampling.BICUBIC)
  return np.asarray(picture).reshape(picture.height, picture.width, channels)


def fit_pixels(
  pixels: UInt8[np.ndarray, "..."], image_size: tuple[int, int], channels: int
) -> Pixels:
  """The same for an array [y x], [y x 1] or [y x 3] that a user hands over.

  Raises:
    ValueError: the array has another shape, or an axis of no length.
  """
  if pixels.ndim == 2:
    pixels = pixels[:, :, None]
  if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
    raise ValueError(
      f"an image of shape {pixels.shape} is not [y x], [y x 1] or [y x 3] with at "
      "least one pixel; hand over such an array of uint8."
    )
  return fit_picture(to_picture(pixels), image_size, channels)


def to_picture(pixels: Pixels) -> Image.Image:
  """A Pillow image of pixels: grey of one channel, colour of three."""
  return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def bucket_size(width: int, height: int) -> tuple[int, int]:
  """`(rows, columns)` for an image: by its ratio, rounded and held within 1 to 4."""
  ratio = min(max(1, round(width / height)), MAX_RATIO)
  columns, rows = BUCKETS[ratio]
  return rows, columns


def suits_bucket(width: int, height: int, ratio: int) -> bool:
  """Whether an image may go into the bucket of `ratio`; a much flatter one distorts it.

  An image is refused where the bucket's ratio is at least floor(width / height) + 2.
  """
  return ratio < width // height + 2
