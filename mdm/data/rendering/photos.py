"""Crops of photographs, as grounds for words.

Any folder of pictures will do. They are kept at a modest size; a crop is taken at any
scale, so that a ground may be a whole view or a patch of bark.

Large pictures take long to decode, so a build decodes them once (`prepare_photos`) into
a folder that all its processes map: `pixels.npy`, all pictures one after the other, and
`shapes.npy`. The folder is named after the pictures' paths, sizes and times, and after
the library that decodes them; any of them changed, they are read anew.
"""

import functools
import hashlib
import pathlib
import shutil
import tempfile

import numpy as np
import PIL
from jaxtyping import Float32
from PIL import Image, UnidentifiedImageError

from mdm.data.images import to_picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SIDE = 640  # pixels of the longer side that are kept
LEAST = 200  # smaller pictures are icons, not photographs


PIXELS, SHAPES = "pixels.npy", "shapes.npy"


@functools.lru_cache(maxsize=4)
def load_photos(folder: str, channels: int) -> tuple[np.ndarray, ...]:
  """The folder's pictures and those below it, uint8 [y x c], in the order of paths.

  Args:
    folder: of pictures, or one that `prepare_photos` made of them.
    channels: 1 grey, 3 colour.

  Raises:
    ValueError: there is no picture of 200 pixels or more.
  """
  if (pathlib.Path(folder) / SHAPES).is_file():
    return _open_prepared(pathlib.Path(folder))
  found = [_read(p, channels) for p in _list_pictures(folder)]
  photos = tuple(p for p in found if p is not None)
  if not photos:
    raise ValueError(
      f"data.photos_dir = {folder!r} holds no picture of {LEAST} pixels or more "
      f"({', '.join(SUFFIXES)}); name a folder of photographs, or None for none."
    )
  return photos


def prepare_photos(folder: str, channels: int, home: pathlib.Path) -> pathlib.Path:
  """Reads a folder's pictures unless that was done before; returns what to load.

  Args:
    folder: of pictures.
    channels: 1 grey, 3 colour.
    home: folder in which the prepared ones are kept, made if it is not there.

  Raises:
    ValueError: there is no picture of 200 pixels or more.
  """
  place = home / _fingerprint(folder, channels)
  if (place / SHAPES).is_file():
    return place
  photos = load_photos(folder, channels)
  home.mkdir(parents=True, exist_ok=True)
  aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=home))
  try:
    np.save(aside / PIXELS, np.concatenate([photo.reshape(-1) for photo in photos]))
    np.save(aside / SHAPES, np.array([photo.shape for photo in photos]))
    aside.chmod(0o755)  # made for its owner alone
    aside.rename(place)
  except OSError:
    if not (place / SHAPES).is_file():  # else another process was faster
      raise
  finally:
    shutil.rmtree(aside, ignore_errors=True)
  return place


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


def _list_pictures(folder: str) -> list[pathlib.Path]:
  """Files with the ending of a picture, in the order of paths."""
  paths = sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file())
  return [p for p in paths if p.suffix.lower() in SUFFIXES]


def _fingerprint(folder: str, channels: int) -> str:
  """What decides the pixels, as a short name."""
  facts: list[object] = [PIL.__version__, channels, SIDE, LEAST]
  for path in _list_pictures(folder):
    state = path.stat()
    facts.append((str(path.resolve()), state.st_size, state.st_mtime_ns))
  return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _open_prepared(place: pathlib.Path) -> tuple[np.ndarray, ...]:
  """The pictures of a prepared folder, mapped and not read."""
  pixels = np.asarray(np.load(place / PIXELS, mmap_mode="r"))
  shapes = np.load(place / SHAPES)
  ends = np.cumsum(shapes.prod(axis=1))
  parts = np.split(pixels, ends[:-1])
  return tuple(x.reshape(shape) for x, shape in zip(parts, shapes, strict=True))


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
