"""Renders a word as a photograph might show it: bent, turned, blurred, badly lit.

A word is set (glyphs.py), bent and turned (warping.py), laid over a ground with
texture, then blurred and made noisy (grounds.py). All of it is a function of the
generator it is given. NumPy and Pillow only.
"""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from mdm.data.fonts import Font, find_fonts
from mdm.data.glyphs import draw_word
from mdm.data.grounds import draw_ground, low_quality
from mdm.data.warping import warp

Plane = Float32[np.ndarray, "y x"]


@dataclasses.dataclass(frozen=True)
class RenderSettings:
  """Size of the image and how hard it is to read.

  Attributes:
    image_size: rows and columns.
    channels: 1 grey, 3 colour.
    strength: 0 clean print, 1 hard photographs.
    case: "lower", or "mixed" for capitals and upper case as well.
    style: "print" fills the image with the word; "scene" is a crop of a photograph, at
      a size of its own, stretched to the image (scenes.py).
    texts: "words", or "signs" in place of `case`: mixed case, numbers, punctuation
      (signs.py).
    photos_dir: a folder of photographs for the grounds of scenes.
  """

  image_size: tuple[int, int] = (32, 96)
  channels: int = 1
  strength: float = 0.7
  case: str = "lower"
  style: str = "print"
  texts: str = "words"
  photos_dir: str | None = None

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
    if self.style not in ("print", "scene"):
      raise ValueError(f"data.style = {self.style!r} is neither 'print' nor 'scene'.")
    if self.texts not in ("words", "signs"):
      raise ValueError(f"data.texts = {self.texts!r} is neither 'words' nor 'signs'.")


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
