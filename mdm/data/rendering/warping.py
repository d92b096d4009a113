"""Lays a word into an image: bent, turned, in perspective, by one analytic map.

The map is inverted in closed form and sampled backwards, so the word always fills the
crop as a word detector would cut it.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image

Plane = Float32[np.ndarray, "y x"]
Matrix = tuple[tuple[float, ...], ...]  # three rows of three

_EDGE_X = np.tile(np.linspace(-1, 1, 9, dtype=np.float32), 2)
_EDGE_Y = np.repeat(np.array([-1, 1], np.float32), 9)


class Curve(NamedTuple):
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


class Bend(NamedTuple):
  """How a word is bent and seen: first displaced along a curve, then projected."""

  forward: Matrix
  curve: Curve

  def box(self) -> tuple[float, float, float, float]:
    """`(left, top, width, height)` of the bent word, before it is scaled."""
    (a, b, c), (d, e, f), (g, h, i) = self.forward
    y = _EDGE_Y + self.curve.at(_EDGE_X)
    depth = g * _EDGE_X + h * y + i
    across = (a * _EDGE_X + b * y + c) / depth
    along = (d * _EDGE_X + e * y + f) / depth
    left, top = float(across.min()), float(along.min())
    return left, top, float(across.max()) - left, float(along.max()) - top


class Margins(NamedTuple):
  """Room around the word, as shares of the image; below 0 the word is cut."""

  left: float
  top: float
  right: float
  bottom: float


def warp(
  rng: np.random.Generator, word: Image.Image, rows: int, columns: int, strength: float
) -> Plane:
  """Coverage of each pixel by ink, after curvature, perspective, rotation and shear.

  A short word is stretched along its line by at most 1.8, and stands anywhere.
  """
  bend = draw_bend(rng, word.width / word.height, strength)
  left, top, right, bottom = rng.random(4).tolist()
  margins = Margins(
    0.015 + 0.09 * left, 0.015 + 0.16 * top, 0.015 + 0.09 * right, 0.015 + 0.16 * bottom
  )
  return lay_word(word, bend, rows, columns, margins, stretch=1.8, place=left)


def draw_bend(rng: np.random.Generator, aspect: float, strength: float) -> Bend:
  """A bend of a word of this width over height; most are slight.

  The forward map takes the word's own plane, x in [-1, 1] along the word and y in
  [-1, 1] across it, to the image: bend, then a projective map.
  """
  bend, wave, phase, angle, shear, tilt_x, tilt_y = rng.uniform(-1, 1, 7).tolist()
  curve = Curve(
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
  return Bend(forward, curve)


def lay_word(
  word: Image.Image,
  bend: Bend,
  rows: int,
  columns: int,
  margins: Margins,
  *,
  stretch: float = math.inf,
  place: float = 0.5,
) -> Plane:
  """Coverage of each pixel of an image by a bent word that fills it up to its margins.

  The map is inverted in closed form for every pixel, and the word sampled bilinearly.

  Args:
    stretch: by how much at most the word is widened beyond its height.
    place: where a word stands that is not widened enough, 0 left to 1 right.
  """
  forward = _fit(bend, margins, rows, columns, stretch, place)
  (a, b, c), (d, e, f), (g, h, i) = _invert(forward)
  v, u = pixel_grid(rows, columns)
  depth = (g * u + i) + h * v
  np.reciprocal(depth, out=depth)
  x = ((a * u + c) + b * v) * depth
  y = ((d * u + f) + e * v) * depth
  y -= bend.curve.at(x)
  return _sample(_shrink(word, forward, rows, columns), x, y)


def _fit(
  bend: Bend, margins: Margins, rows: int, columns: int, stretch: float, place: float
) -> Matrix:
  """Scales and shifts the map so that the word fills the image up to its margins."""
  first, second, last = bend.forward
  left_most, top_most, width, height = bend.box()
  scale_y = rows * (1 - margins.top - margins.bottom) / height
  free = columns * (1 - margins.left - margins.right)
  scale_x = min(free / width, stretch * scale_y)
  spare = (free - scale_x * width) * place
  shift_x = columns * margins.left + spare - scale_x * left_most
  shift_y = rows * margins.top - scale_y * top_most
  return (
    tuple(scale_x * p + shift_x * q for p, q in zip(first, last, strict=True)),
    tuple(scale_y * p + shift_y * q for p, q in zip(second, last, strict=True)),
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
def pixel_grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
  """Centres of the pixels: a column of rows and a row of columns."""
  v = np.arange(rows, dtype=np.float32)[:, None] + np.float32(0.5)
  return v, np.arange(columns, dtype=np.float32)[None] + np.float32(0.5)
