"""Crops of photographs, as grounds for words.

Any folder of pictures will do. They are read once per process, at a modest size; a crop
is taken at any scale, so that a ground may be a whole view or a patch of bark.
"""

import functools
import pathlib

import numpy as np
from jaxtyping import Float32
from PIL import Image, UnidentifiedImageError

from mdm.data.images import to_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SIDE = 640  # pixels of the longer side that are kept
LEAST = 200  # smaller pictures are icons, not photographs


@functools.lru_cache(maxsize=4)
def load_photos(folder: str, channels: int) -> tuple[np.ndarray, ...]:
  """The folder's pictures and those below it, uint8 [y x c], in the order of paths.

  Raises:
    ValueError: there is no picture of 200 pixels or more.
  """
  paths = sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file())
  found = [_read(p, channels) for p in paths if p.suffix.lower() in SUFFIXES]
  photos = tuple(p for p in found if p is not None)
  if not photos:
    raise ValueError(
      f"data.photos_dir = {folder!r} holds no picture of {LEAST} pixels or more "
      f"({', '.join(SUFFIXES)}); name a folder of photographs, or None for none."
    )
  return photos


def crop_photo(
  rng: np.random.Generator, photos: tuple[np.ndarray, ...], rows: int, columns: int
) -> Float32[np.ndarray, "y x c"]:
  """A random crop at a random scale, resized to rows and columns, values 0..255."""
  photo = photos[int(rng.integers(len(photos)))]
  height, width = photo.shape[:2]
  largest = min(height / rows, width / columns)
  scale = min(largest, float(np.exp(rng.uniform(np.log(0.3), np.log(4.0)))))
  high, wide = max(2, int(rows * scale)), max(2, int(columns * scale))
  top = int(rng.integers(height - high + 1))
  left = int(rng.integers(width - wide + 1))
  part = photo[top : top + high, left : left + wide]
  picture = to_picture(part).resize((columns, rows), Image.Resampling.BILINEAR)
  return np.asarray(picture, np.float32).reshape(rows, columns, -1)


def _read(path: pathlib.Path, channels: int) -> np.ndarray | None:
  """A picture with its longer side at most `SIDE`; None if it is none, or small."""
  try:
    with Image.open(path) as picture:
      if min(picture.size) < LEAST:
        return None
      picture.draft("RGB", (SIDE, SIDE))  # JPEG: decode at a fraction of the size
      whole = picture.convert("RGB" if channels == 3 else "L")
      whole.thumbnail((SIDE, SIDE))
  except (OSError, UnidentifiedImageError, ValueError):
    return None
  return np.asarray(whole).reshape(whole.height, whole.width, channels)
