"""Renders a word as a photograph might show it: bent, turned, blurred, badly lit.

A word is set from FreeType's glyphs, bent and turned by one analytic map that is
sampled backwards (so the word always fills the crop, as a word detector would cut it),
laid over a ground with texture, then blurred and made noisy. All of it is a function of
the generator it is given. NumPy and Pillow only.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageFilter, ImageFont

from mdm.data.fonts import Font, find_fonts
from mdm.data.grounds import draw_ground, low_quality

Plane = Float32[np.ndarray, "y x"]
Matrix = tuple[tuple[float, ...], ...]  # three rows of three

_EDGE_X = np.tile(np.linspace(-1, 1, 9, dtype=np.float32), 2)
_EDGE_Y = np.repeat(np.array([-1, 1], np.float32), 9)


@dataclasses.dataclass(frozen=True)
class RenderSettings:
  """Size of the image and how hard it is to read.

  Attributes:
    image_size: rows and columns.
    channels: 1 grey, 3 colour.
    strength: 0 clean print, 1 hard photographs.
    case: "lower", or "mixed" for capitals and upper case as well.
  """

  image_size: tuple[int, int] = (32, 96)
  channels: int = 1
  strength: float = 0.7
  case: str = "lower"

  def __post_init__(self) -> None:
    """Raises ValueError for values out of range."""
    if min(self.image_size) < 8:
      raise ValueError(
        f"data.image_size = {self.image_size} is too small to read; write 8 or more."
      )
    if self.channels not in (1, 3):
      raise ValueError(
        f"data.channels = {self.channels} is neither 1 (grey) nor 3 (colour)."
      )
    if not 0 <= self.strength <= 1:
      raise ValueError(
        f"data.strength = {self.strength} lies outside [0, 1]; 0 is clean, 1 is hard."
      )
    if self.case not in ("lower", "mixed"):
      raise ValueError(f"data.case = {self.case!r} is neither 'lower' nor 'mixed'.")


def render(
  rng: np.random.Generator, text: str, font: Font, settings: RenderSettings
) -> UInt8[np.ndarray, "y x c"]:
  """One image of `text`."""
  rows, columns = settings.image_size
  word = _draw_word(rng, text, font.path, round(1.3 * rows), settings.strength)
  cover = _warp(rng, word, rows, columns, settings.strength)  # y x, 0 ground 1 ink
  image = _ink(rng, cover, settings)  # y x c
  image = low_quality(rng, image, settings.strength)
  return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def vary_case(rng: np.random.Generator, text: str, case: str) -> str:
  """The text as it will be drawn: with "mixed", capitalised or in capitals at times."""
  if case == "lower":
    return text
  draw = rng.random()
  return text.upper() if draw < 0.3 else text.capitalize() if draw < 0.55 else text


def choose_font(rng: np.random.Generator, families: Sequence[Sequence[Font]]) -> Font:
  """A style of a family; families are equally likely, however many styles they have."""
  family = families[int(rng.integers(len(families)))]
  return family[int(rng.integers(len(family)))]


def rendering_speed(
  settings: RenderSettings | None = None,
  fonts: Sequence[Font] | None = None,
  *,
  seconds: float = 3.0,
) -> dict[str, float]:
  """Images per second of one core, over all fonts, after a warm-up."""
  settings, fonts = settings or RenderSettings(), fonts or find_fonts()
  words = ("reading", "words", "through", "noise", "and", "blur", "quickly")
  for k, font in enumerate(fonts):
    render(np.random.default_rng(k), words[k % len(words)], font, settings)
  count, start = 0, time.process_time()  # of this core alone, whoever else computes
  while (spent := time.process_time() - start) < seconds:
    rng = np.random.default_rng((0, count))
    render(rng, words[count % len(words)], fonts[count % len(fonts)], settings)
    count += 1
  return {"images_per_s_per_core": count / spent, "images": count, "time_s": spent}


@functools.lru_cache(maxsize=1024)
def _open_font(path: str, size: int) -> ImageFont.FreeTypeFont:
  """The open font; reading the file takes longer than drawing a word."""
  return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=32_768)
def _draw_glyph(
  path: str, size: int, character: str
) -> tuple[UInt8[np.ndarray, "y x"], int, int, float]:
  """`(coverage, left, top, advance)` of one character, drawn once per process."""
  font = _open_font(path, size)
  mask, (left, top) = font.getmask2(character, mode="L")
  width, height = mask.size
  drawing = np.frombuffer(bytes(mask), np.uint8).reshape(height, width)
  return drawing, round(left), round(top), font.getlength(character)


def _draw_word(
  rng: np.random.Generator, text: str, path: str, size: int, strength: float
) -> Image.Image:
  """The word in white on black, cut to its ink; sometimes spaced wider or bolder."""
  tracking, weight = rng.random(2).tolist()
  wide = 0.25 * size * max(0.0, tracking - 0.75) * 4 * strength
  placed, x = [], float(size)
  for character in text:
    drawing, left, top, advance = _draw_glyph(path, size, character)
    if drawing.size:
      placed.append((drawing, round(x) + left, top + size))
    x += advance + wide
  if not placed:
    raise ValueError(f"{text!r} has no ink in {path}; drop it from the words.")
  first = min(left for _, left, _ in placed)
  last = max(left + drawing.shape[1] for drawing, left, _ in placed)
  high = min(top for _, _, top in placed)
  low = max(top + drawing.shape[0] for drawing, _, top in placed)
  canvas = np.zeros((low - high, last - first), np.uint8)
  for drawing, left, top in placed:
    y, x = top - high, left - first
    part = canvas[y : y + drawing.shape[0], x : x + drawing.shape[1]]
    np.maximum(part, drawing, out=part)
  word = Image.fromarray(canvas)
  return word.filter(ImageFilter.MaxFilter(3)) if weight < 0.08 * strength else word


class _Curve(NamedTuple):
  """How far the base line is displaced at x in [-1, 1]: an arc and a wave."""

  bend: float
  wave: float
  phase: float

  def at(self, x: np.ndarray) -> np.ndarray:
    """Height of the line at columns x in [-1, 1]."""
    line = np.float32(self.bend) * (x * x - np.float32(0.5))
    if abs(self.wave) > 0.01:
      angle = np.float32(3) * x + np.float32(self.phase)
      line += np.float32(self.wave) * np.sin(angle)
    return line


def _warp(
  rng: np.random.Generator, word: Image.Image, rows: int, columns: int, strength: float
) -> Plane:
  """Coverage of each pixel by ink, after curvature, perspective, rotation and shear.

  The forward map takes the word's own plane, x in [-1, 1] along the word and y in
  [-1, 1] across it, to the image: bend, then a projective map. It is inverted in
  closed form for every pixel, and the word is sampled bilinearly there.
  """
  aspect = word.width / word.height
  bend, wave, phase, angle, shear, tilt_x, tilt_y = rng.uniform(-1, 1, 7).tolist()
  margins = rng.random(4).tolist()  # left top right bottom
  curve = _Curve(
    0.9 * strength * bend * abs(bend) ** 1.5,
    0.35 * strength * wave * abs(wave) ** 3,
    3 * phase,
  )
  # A word much longer than high turns little before it leaves its line.
  angle = 0.35 * strength * angle * abs(angle) * min(1.0, 3 / aspect)
  shear = 0.5 * strength * shear * abs(shear)
  cos, sin = math.cos(angle), math.sin(angle)
  forward: Matrix = (
    (cos * aspect, cos * shear - sin, 0.0),
    (sin * aspect, sin * shear + cos, 0.0),
    (
      0.22 * strength * tilt_x * abs(tilt_x),
      0.18 * strength * tilt_y * abs(tilt_y),
      1.0,
    ),
  )
  forward = _fit(forward, curve, margins, rows, columns)
  (a, b, c), (d, e, f), (g, h, i) = _invert(forward)
  v, u = _pixel_grid(rows, columns)
  depth = (g * u + i) + h * v
  np.reciprocal(depth, out=depth)
  x = ((a * u + c) + b * v) * depth
  y = ((d * u + f) + e * v) * depth
  y -= curve.at(x)
  return _sample(_shrink(word, forward, rows, columns), x, y)


def _fit(
  forward: Matrix, curve: _Curve, margins: Sequence[float], rows: int, columns: int
) -> Matrix:
  """Scales and shifts the map so that the word fills the image up to its margins.

  A short word is stretched along its line by at most 1.8, and stands anywhere.
  """
  (a, b, c), (d, e, f), (g, h, i) = forward
  y = _EDGE_Y + curve.at(_EDGE_X)
  depth = g * _EDGE_X + h * y + i
  across = (a * _EDGE_X + b * y + c) / depth
  along = (d * _EDGE_X + e * y + f) / depth
  left_most, top_most = float(across.min()), float(along.min())
  width, height = float(across.max()) - left_most, float(along.max()) - top_most
  left, right = 0.015 + 0.09 * margins[0], 0.015 + 0.09 * margins[2]
  top, bottom = 0.015 + 0.16 * margins[1], 0.015 + 0.16 * margins[3]
  scale_y = rows * (1 - top - bottom) / height
  free = columns * (1 - left - right)
  scale_x = min(free / width, 1.8 * scale_y)
  spare = (free - scale_x * width) * margins[0]
  shift_x = columns * left + spare - scale_x * left_most
  shift_y = rows * top - scale_y * top_most
  last = (g, h, i)
  return (
    tuple(scale_x * p + shift_x * q for p, q in zip((a, b, c), last, strict=True)),
    tuple(scale_y * p + shift_y * q for p, q in zip((d, e, f), last, strict=True)),
    last,
  )


def _invert(matrix: Matrix) -> Matrix:
  """The inverse up to a factor, which cancels in a projective map."""
  (a, b, c), (d, e, f), (g, h, i) = matrix
  return (
    (e * i - f * h, c * h - b * i, b * f - c * e),
    (f * g - d * i, a * i - c * g, c * d - a * f),
    (d * h - e * g, b * g - a * h, a * e - b * d),
  )


def _shrink(word: Image.Image, forward: Matrix, rows: int, columns: int) -> Image.Image:
  """The word at about the size it will have, averaged so that nothing aliases."""
  across = 2 * math.hypot(forward[0][0], forward[1][0])
  along = 2 * math.hypot(forward[0][1], forward[1][1])
  width = min(max(int(1.2 * across), 4), word.width, 2 * columns)
  height = min(max(int(1.2 * along), 4), word.height, 2 * rows)
  return word.resize((width, height), Image.Resampling.BOX)


def _sample(word: Image.Image, x: Plane, y: Plane) -> Plane:
  """Bilinear value of the word at x, y in [-1, 1]; nothing is outside."""
  width, height = word.size
  stride = width + 4
  padded = np.zeros((height + 4, stride), np.float32)
  padded[2:-2, 2:-2] = np.asarray(word)
  x = np.clip((x + 1) * np.float32(width / 2) + np.float32(1.5), 0, width + 2)
  y = np.clip((y + 1) * np.float32(height / 2) + np.float32(1.5), 0, height + 2)
  column, row = x.astype(np.int32), y.astype(np.int32)
  x -= column
  y -= row
  place = row * np.int32(stride) + column
  flat = padded.ravel()
  steps = flat[1:] - flat[:-1]  # to the neighbour on the right
  upper = flat.take(place) + x * steps.take(place)
  place += np.int32(stride)
  lower = flat.take(place) + x * steps.take(place)
  upper += y * (lower - upper)
  upper *= np.float32(1 / max(float(upper.max()), 1.0))  # thin strokes keep contrast
  return upper


@functools.lru_cache(maxsize=16)
def _pixel_grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
  """Centres of the pixels: a column of rows and a row of columns."""
  v = np.arange(rows, dtype=np.float32)[:, None] + np.float32(0.5)
  return v, np.arange(columns, dtype=np.float32)[None] + np.float32(0.5)


def _ink(
  rng: np.random.Generator, cover: Plane, settings: RenderSettings
) -> Float32[np.ndarray, "y x c"]:
  """Lays the ink over a ground; ink and ground keep a contrast that can be read."""
  strength, channels = settings.strength, settings.channels
  polarity, level, spread, gloss, effect = rng.random(5).tolist()
  contrast = 255 * (1 - strength * (0.8 * spread))  # at least 20% of the range
  dark = (255 - contrast) * (level * strength if strength else 0.0)
  ground, ink = dark + contrast, dark
  if polarity < 0.5 * min(1.0, 2 * strength):
    ground, ink = ink, ground
  tint = np.zeros((2, 1), np.float32)
  if channels == 3:
    tint = rng.uniform(-60, 60, (2, 3)).astype(np.float32) * np.float32(strength)
    tint -= tint.mean(axis=1, keepdims=True)  # colours differ, luminance hardly
  texture = draw_ground(rng, *settings.image_size, strength)  # in [-1, 1]
  canvas = np.float32(0.4 * contrast * strength) * texture[:, :, None]
  canvas = canvas + (tint[0] + np.float32(ground))
  if effect < 0.15 * strength:  # a shadow, which also serves as an outline
    shadow = np.roll(cover, (1, 1) if effect < 0.1 * strength else (-1, 1), (0, 1))
    far = np.float32(0.5 * ground + (127.5 if ink < ground else 0))  # away from the ink
    canvas += np.float32(0.6) * shadow[:, :, None] * (far - canvas)
  colour = tint[1] + np.float32(ink)
  if gloss < 0.3 * strength:  # uneven ink
    colour = colour + np.float32(0.25 * contrast * gloss) * texture[::-1, ::-1, None]
  return canvas + cover[:, :, None] * (colour - canvas)
