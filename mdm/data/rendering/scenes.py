"""Renders a word as a detector cuts it out of a photograph, at the size it had there.

The crop has the word's own proportions and a height from 12 to 64 pixels. The word may
have an outline, a shadow or depth, lies on a plain, textured or photographed ground,
perhaps beside other words, under uneven light; a camera blurs and compresses it. Only
then is the crop stretched to the reader's size, as every word image will be.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageFilter

from mdm.data.images import to_picture
from mdm.data.rendering.fonts import Font
from mdm.data.rendering.glyphs import draw_word
from mdm.data.rendering.grounds import clouds, draw_ground, low_quality
from mdm.data.rendering.photos import crop_photo, load_photos
from mdm.data.rendering.settings import RenderSettings
from mdm.data.rendering.warping import Bend, Margins, draw_bend, lay_word

Plane = Float32[np.ndarray, "y x"]
Pixels = Float32[np.ndarray, "y x c"]

GLYPHS = 56  # pixels of the font's height
LOWEST, HIGHEST = 12, 64  # rows of a crop
WIDEST = 12  # columns of a crop over its rows


def render_scene(
  rng: np.random.Generator,
  text: str,
  font: Font,
  settings: RenderSettings,
  others: Sequence[str] = (),
) -> UInt8[np.ndarray, "y x c"]:
  """One image of `text`.

  Args:
    others: texts that may stand beside it.
  """
  strength = settings.strength
  word = draw_word(rng, text, font.path, GLYPHS, strength)
  bend = draw_bend(rng, word.width / word.height, 0.8 * strength)
  rows, columns, margins = _draw_crop(rng, bend, strength)
  cover = lay_word(word, bend, rows, columns, margins)  # y x, 0 ground 1 ink
  if others and rng.random() < 0.25 * strength:
    beside = others[int(rng.integers(len(others)))]
    cover = _add_neighbour(rng, cover, beside, font, margins)
  image = _colour(rng, cover, settings)
  image = _light(rng, image, strength)
  image = low_quality(rng, image, strength)
  pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
  if rng.random() < 0.4 * strength:
    pixels = _lower_resolution(rng, pixels)
  size = (settings.image_size[1], settings.image_size[0])
  stretched = to_picture(pixels).resize(size, Image.Resampling.BICUBIC)
  return np.asarray(stretched).reshape(*settings.image_size, settings.channels)


def _draw_crop(
  rng: np.random.Generator, bend: Bend, strength: float
) -> tuple[int, int, Margins]:
  """Rows, columns and margins of a crop; margins are small and now and then negative.

  Margins at the sides are as wide as those above and below, in pixels, not in shares.
  """
  _, _, width, height = bend.box()
  low, high = math.log(LOWEST), math.log(HIGHEST)
  rows = round(math.exp(high - (high - low) * strength * rng.random()))
  room = (0.20 * rng.random(4) ** 1.5 - 0.03 * strength).tolist()  # of the rows
  squeeze = math.exp(0.2 * strength * rng.uniform(-1, 1))
  inside = squeeze * width / height * (1 - room[1] - room[3])  # over the rows
  wide = min(max(inside + room[0] + room[2], 0.3), WIDEST)
  margins = Margins(room[0] / wide, room[1], room[2] / wide, room[3])
  return rows, max(round(wide * rows), 4), margins


def _add_neighbour(
  rng: np.random.Generator, cover: Plane, text: str, font: Font, margins: Margins
) -> Plane:
  """The edge of another word in the margin: above, below, to the left or right."""
  rows, columns = cover.shape
  word = draw_word(rng, text, font.path, GLYPHS, 0.0)
  side = int(rng.integers(4))
  if side < 2:  # above or below: another line of about the same size
    wide = max(4, int(columns * rng.uniform(0.5, 1.5)))
    piece = word.resize((wide, rows), Image.Resampling.BOX)
    room = (margins.top, margins.bottom)[side] * rows
    down = round(rows - room if side else room - rows)
    right = int(rng.integers(-wide // 2, max(columns - wide // 2, 1 - wide // 2)))
  else:
    wide = max(4, round(rows * word.width / word.height))
    piece = word.resize((wide, rows), Image.Resampling.BOX)
    room = (margins.left, margins.right)[side - 2] * columns * 0.7
    down, right = 0, round(columns - room if side == 3 else room - wide)
  sheet = Image.new("L", (columns, rows))
  sheet.paste(piece, (right, down))
  return np.maximum(cover, np.asarray(sheet, np.float32) / np.float32(255))


def _colour(rng: np.random.Generator, cover: Plane, settings: RenderSettings) -> Pixels:
  """Ground, then what lies behind the ink, then ink."""
  rows, columns = cover.shape
  ground, ink = _draw_colours(rng, settings.channels, settings.strength)
  gap = float(np.abs(ink.mean() - ground.mean()))
  canvas = _draw_ground(rng, rows, columns, settings, ground, gap)
  effect = rng.random() / max(settings.strength, 1e-6)
  unit = rows / 32
  if effect < 0.12:  # an outline, in ink's opposite or any grey
    edge = np.float32(rng.uniform(0, 255))
    canvas += _widen(cover, 1 + round(unit * rng.random()))[..., None] * (edge - canvas)
  elif effect < 0.32:  # a shadow, or depth: many shadows
    far = np.float32(rng.uniform(0, 0.6) * 255)
    reach = max(1, round(2.5 * unit * rng.random()))
    shade = _shift(cover, reach, (effect < 0.2) * reach + 1)
    canvas += np.float32(0.8) * shade[..., None] * (far - canvas)
  fill = _draw_fill(rng, rows, columns, settings.strength)
  inked = ink + np.float32(0.3 * gap) * fill[..., None]
  if effect > 0.95 and unit > 0.7:  # hollow letters
    cover = np.clip(_widen(cover, 1) - cover, 0, 1)
  return canvas + cover[..., None] * (inked - canvas)


def _draw_colours(
  rng: np.random.Generator, channels: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:
  """Ground and ink, float32 [c]; their brightness differs by a seventh or more."""
  least = 255 * (1 - 0.86 * strength)
  gap = least + (255 - least) * float(rng.random()) ** 0.8
  dark = (255 - gap) * float(rng.random())
  pair = np.array([dark + gap, dark], np.float32)
  if rng.random() < 0.5:
    pair = pair[::-1]
  colours = np.repeat(pair[:, None], channels, axis=1)
  if channels == 3:
    tint = rng.uniform(-90, 90, (2, 3)).astype(np.float32) * np.float32(strength)
    colours = colours + tint - tint.mean(axis=1, keepdims=True)
  return colours[0], colours[1]


def _draw_ground(
  rng: np.random.Generator,
  rows: int,
  columns: int,
  settings: RenderSettings,
  colour: np.ndarray,
  gap: float,
) -> Pixels:
  """A ground around a colour: a photograph, a texture or nothing but the colour."""
  kind, amount = rng.random(2).tolist()
  if settings.photos_dir and kind < 0.4 * settings.strength:
    photos = load_photos(settings.photos_dir, settings.channels)
    view = crop_photo(rng, photos, rows, columns)
    view = view - view.mean(axis=(0, 1))
    loudest = max(float(np.abs(view).max()), 1.0)
    return colour + view * np.float32(min(1.0, (0.2 + 0.5 * amount) * gap / loudest))
  texture = draw_ground(rng, rows, columns, 0.7 * settings.strength)
  return colour + np.float32(0.5 * amount * gap) * texture[..., None]


def _draw_fill(
  rng: np.random.Generator, rows: int, columns: int, strength: float
) -> Plane:
  """How the ink varies, in [-1, 1]: mostly not, else a gradient or clouds."""
  draw = rng.random() / max(strength, 1e-6)
  if draw > 0.3:
    return np.zeros((rows, columns), np.float32)
  if draw > 0.12:
    fade = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    return np.repeat(fade if draw > 0.2 else -fade, columns, axis=1)
  return clouds(rng, rows, columns, 6)


def _light(rng: np.random.Generator, image: Pixels, strength: float) -> Pixels:
  """Uneven light across the crop, and the camera's gamma."""
  draw, amount, gamma = rng.random(3).tolist()
  if draw < 0.35 * strength:
    shade = clouds(rng, image.shape[0], image.shape[1], cells=2)[..., None]
    image = image * (1 + np.float32(0.4 * amount * strength) * shade)
  if draw > 1 - 0.3 * strength:
    power = math.exp(0.5 * strength * (2 * gamma - 1))
    image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(power)
  return image.astype(np.float32)


def _widen(cover: Plane, pixels: int) -> Plane:
  """The word with every stroke wider by so many pixels on each side."""
  picture = Image.fromarray((cover * 255).astype(np.uint8))
  wide = picture.filter(ImageFilter.MaxFilter(2 * pixels + 1))
  return np.asarray(wide, np.float32) / np.float32(255)


def _shift(cover: Plane, reach: int, steps: int) -> Plane:
  """The word moved down and right, once or drawn along the whole way."""
  shade = np.zeros_like(cover)
  for k in range(reach, max(reach - steps, 0), -1):
    shade[k:, k:] = np.maximum(shade[k:, k:], cover[:-k, :-k])
  return shade


def _lower_resolution(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
  """The crop as a small camera keeps it: fewer pixels, and JPEG-like steps of grey."""
  rows, columns = pixels.shape[:2]
  share = math.exp(rng.uniform(math.log(10 / max(rows, 11)), 0.0))
  small = (max(4, round(columns * share)), max(8, round(rows * share)))
  kept = to_picture(pixels).resize(small, Image.Resampling.BOX)
  return np.asarray(kept).reshape(small[1], small[0], pixels.shape[2])
