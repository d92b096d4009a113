"""Renders a word as a photograph might show it: bent, turned, blurred, badly lit.

A word is set (glyphs.py), bent and turned (warping.py), laid over a ground with
texture, then blurred and made noisy (grounds.py). All of it is a function of the
generator it is given. NumPy and Pillow only.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from mdm.data.rendering.fonts import Font
from mdm.data.rendering.glyphs import draw_word
from mdm.data.rendering.grounds import draw_ground, low_quality
from mdm.data.rendering.settings import RenderSettings
from mdm.data.rendering.warping import warp

Plane = Float32[np.ndarray, "y x"]


def render(
  rng: np.random.Generator, text: str, font: Font, settings: RenderSettings
) -> UInt8[np.ndarray, "y x c"]:
  """One image of `text`."""
  rows, columns = settings.image_size
  word = draw_word(rng, text, font.path, round(1.3 * rows), settings.strength)
  cover = warp(rng, word, rows, columns, settings.strength)  # y x, 0 ground 1 ink
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
