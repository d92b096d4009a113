"""The recipe of the rendered words: which word, which font, which draw, for any record.

A record is a function of (seed, split, number) and of the lists of words and fonts, so
it is the same whichever process renders it. Training takes training words in training
fonts; three test splits hold out words, fonts, or both:

  test        held-out words in held-out fonts
  test_words  held-out words in training fonts
  test_fonts  training words in held-out fonts
"""

import dataclasses
import io
import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mdm.data.images import to_picture
from mdm.data.rendering.fonts import Font, find_fonts, split_fonts
from mdm.data.rendering.glyphs import drawable
from mdm.data.rendering.prints import choose_font, render, vary_case
from mdm.data.rendering.scenes import render_scene
from mdm.data.rendering.settings import RenderSettings
from mdm.data.rendering.signs import draw_sign
from mdm.data.rendering.words import load_words, split_words

SPLITS = ("train", "test", "test_words", "test_fonts")


@dataclasses.dataclass(frozen=True)
class RenderJob:
  """All that a worker needs to render any record of one split."""

  seed: int
  split: str
  words: tuple[str, ...]
  fonts: tuple[Font, ...]
  settings: RenderSettings
  max_len: int = 25


def make_jobs(
  settings: RenderSettings,
  *,
  seed: int = 0,
  num_words: int = 40_000,
  min_len: int = 3,
  max_len: int = 8,
  fonts_dir: str | None = None,
  system_fonts: bool = False,
) -> dict[str, RenderJob]:
  """One job per split; words and font families are disjoint where held out."""
  train_fonts, test_fonts = split_fonts(
    find_fonts(fonts_dir, system=system_fonts), seed=seed
  )
  train_words, test_words = split_words(
    load_words(num_words, min_len=min_len, max_len=max_len), seed=seed
  )
  if not train_words or not test_words:
    raise ValueError(
      f"data.num_words = {num_words} leaves {len(train_words)} words to train on and "
      f"{len(test_words)} held out; write at least 200."
    )
  parts = {
    "train": (train_words, train_fonts),
    "test": (test_words, test_fonts),
    "test_words": (test_words, train_fonts),
    "test_fonts": (train_words, test_fonts),
  }
  return {
    split: RenderJob(seed, split, words, fonts, settings, max_len)
    for split, (words, fonts) in parts.items()
  }


def renderer(job: RenderJob) -> Callable[[int], dict[str, Any]]:
  """The function from a record's number to the record: PNG bytes, text and font."""
  families = [
    list(styles) for _, styles in itertools.groupby(job.fonts, lambda f: f.family)
  ]
  settings, split = job.settings, SPLITS.index(job.split)
  order = np.random.default_rng((job.seed, split)).permutation(len(job.words))

  def draw_text(rng: np.random.Generator, index: int) -> str:
    """A sign, or a word; every word comes before one comes again."""
    if settings.texts == "signs":
      return draw_sign(rng, job.words, max_len=job.max_len)
    return vary_case(rng, job.words[order[index % len(order)]], settings.case)

  def make(index: int) -> dict[str, Any]:
    """One record."""
    rng = np.random.default_rng((job.seed, split, index))
    text = draw_text(rng, index)
    font = choose_font(rng, families)
    if settings.texts == "signs":
      text = drawable(text, font.path) or job.words[index % len(job.words)]
    pixels = draw_image(rng, text, font, settings, job.words)
    return {"image": encode_png(pixels), "text": text, "font": font.style}

  return make


def draw_image(
  rng: np.random.Generator,
  text: str,
  font: Font,
  settings: RenderSettings,
  others: Sequence[str] = (),
) -> UInt8[np.ndarray, "y x c"]:
  """One image of `text` in the style of the settings; `others` may stand beside it."""
  if settings.style == "scene":
    return render_scene(rng, text, font, settings, others)
  return render(rng, text, font, settings)


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
    draw_image(np.random.default_rng(k), words[k % len(words)], font, settings, words)
  count, start = 0, time.process_time()  # of this core alone, whoever else computes
  while (spent := time.process_time() - start) < seconds:
    rng = np.random.default_rng((0, count))
    word, font = words[count % len(words)], fonts[count % len(fonts)]
    draw_image(rng, word, font, settings, words)
    count += 1
  return {"images_per_s_per_core": count / spent, "images": count, "time_s": spent}


def encode_png(pixels: np.ndarray) -> bytes:
  """PNG bytes of a grey or colour image; noise hardly shrinks, so in little time."""
  store = io.BytesIO()
  to_picture(pixels).save(store, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
  return store.getvalue()
