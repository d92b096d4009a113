"""Sets a word from FreeType's glyphs, each drawn once per process."""

import functools

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter, ImageFont


@functools.lru_cache(maxsize=4_096)
def open_font(path: str, size: int) -> ImageFont.FreeTypeFont:
  """The open font; reading the file takes longer than drawing a word."""
  return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=131_072)
def draw_glyph(
  path: str, size: int, character: str
) -> tuple[UInt8[np.ndarray, "y x"], int, int, float]:
  """`(coverage, left, top, advance)` of one character, drawn once per process."""
  font = open_font(path, size)
  mask, (left, top) = font.getmask2(character, mode="L")
  width, height = mask.size
  drawing = np.frombuffer(bytes(mask), np.uint8).reshape(height, width)
  return drawing, round(left), round(top), font.getlength(character)


def drawable(text: str, path: str) -> str:
  """The text without characters for which the font has no glyph."""
  return "".join(c for c in text if _has_glyph(path, c))


@functools.lru_cache(maxsize=262_144)
def _has_glyph(path: str, character: str) -> bool:
  """Whether a character is drawn, and not as the font's placeholder."""
  font = open_font(path, 24)
  mask = font.getmask(character)
  return mask.getbbox() is not None and bytes(mask) != bytes(font.getmask("\uffff"))


def draw_word(
  rng: np.random.Generator, text: str, path: str, size: int, strength: float
) -> Image.Image:
  """The word in white on black, cut to its glyphs; sometimes spaced wider or bolder."""
  tracking, weight = rng.random(2).tolist()
  wide = 0.25 * size * max(0.0, tracking - 0.75) * 4 * strength
  placed, x = [], float(size)
  for character in text:
    drawing, left, top, advance = draw_glyph(path, size, character)
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
