import numpy as np
import pytest
from PIL import Image

from mdm.data.rendering.fonts import find_fonts
from mdm.data.rendering.glyphs import draw_word, drawable
from mdm.data.rendering.recipe import make_jobs, renderer
from mdm.data.rendering.scenes import (
  _add_neighbour,
  _draw_crop,
  _shift,
  _widen,
  render_scene,
)
from mdm.data.rendering.settings import RenderSettings
from mdm.data.rendering.warping import Margins, draw_bend

FONT = next(f for f in find_fonts() if f.style == "dejavu sans book")
CLEAN = RenderSettings(strength=0.0, style="scene")


def scene(seed, text="reading", settings=CLEAN, others=()):
  return render_scene(np.random.default_rng(seed), text, FONT, settings, others)


def test_the_image_is_a_function_of_the_generator():
  hard = RenderSettings(strength=1.0, style="scene")
  words = ("stop", "exit")
  same = [scene(5, settings=hard, others=words) for _ in range(2)]
  assert (same[0] == same[1]).all()
  assert (same[0] != scene(6, settings=hard, others=words)).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 128), (24, 60)])
def test_every_text_at_every_strength_has_the_size_asked_for(size, channels):
  for seed, text in enumerate(["i", "W", "a" * 25, "$9.99", "..."] * 6):
    strength = seed / 29
    settings = RenderSettings(size, channels, strength, style="scene")
    image = scene(seed, text, settings, ("beside",))
    assert image.shape == (*size, channels)
    assert image.dtype == np.uint8


def test_a_clean_word_is_stretched_over_the_whole_crop():
  """A word image is stretched to the reader's size: so is a single letter."""
  for seed, text in enumerate(["n", "of", "reading", "international"]):
    image = scene(seed, text).astype(float)[:, :, 0]
    ground = np.median(np.concatenate([image[0], image[-1]]))
    columns = (np.abs(image - ground) > 80).any(axis=0).nonzero()[0]
    assert columns[0] < 0.35 * image.shape[1]
    assert columns[-1] > 0.65 * image.shape[1]


def test_a_crop_has_the_proportions_of_its_word():
  rng = np.random.default_rng(0)
  for text in ("no", "proportions"):
    word = draw_word(rng, text, FONT.path, 56, 0.0)
    bend = draw_bend(rng, word.width / word.height, 0.0)
    rows, columns, margins = _draw_crop(rng, bend, 0.0)
    inside = columns * (1 - margins.left - margins.right)
    high = rows * (1 - margins.top - margins.bottom)
    assert inside / high == pytest.approx(word.width / word.height, rel=0.05)


def test_crops_are_small_and_large_and_now_and_then_cut_the_word():
  rng = np.random.default_rng(0)
  crops = [_draw_crop(rng, draw_bend(rng, 3.0, 0.8), 1.0) for _ in range(400)]
  rows = [r for r, _, _ in crops]
  assert min(rows) < 14
  assert max(rows) > 58
  cut = np.mean([min(m) < 0 for _, _, m in crops])
  assert 0.2 < cut < 0.9
  assert min(min(m) for _, _, m in crops) > -0.1


def test_photographs_become_grounds(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
  Image.fromarray(noise).save(tmp_path / "bark.png")
  settings = RenderSettings(strength=1.0, style="scene", photos_dir=str(tmp_path))
  plain = RenderSettings(strength=1.0, style="scene")
  differ = [(scene(k, settings=settings) != scene(k, settings=plain)).any()
            for k in range(60)]  # fmt: skip
  assert 0.2 < np.mean(differ) < 0.6


def test_a_neighbour_stays_in_the_margins():
  cover = np.zeros((40, 200), np.float32)
  margins = Margins(0.1, 0.2, 0.1, 0.2)
  for seed in range(20):
    rng = np.random.default_rng(seed)
    found = _add_neighbour(rng, cover, "HHH", FONT, margins)
    assert found[9:31, 21:179].max() == 0
    assert found.max() <= 1


def test_strokes_widen_and_shadows_fall_to_the_right_below():
  cover = np.zeros((9, 9), np.float32)
  cover[4, 4] = 1.0
  assert _widen(cover, 1).sum() == 9
  once, long = _shift(cover, 2, 1), _shift(cover, 2, 2)
  assert once.nonzero() == (6, 6)
  assert long.sum() == 2


def test_characters_without_a_glyph_are_dropped():
  assert drawable("a\uffffb\u4e00", FONT.path) == "ab"


def test_signs_in_scenes_make_a_data_set():
  settings = RenderSettings((32, 128), 1, 0.8, style="scene", texts="signs")
  job = make_jobs(settings, num_words=500, min_len=1, max_len=9)["train"]
  records = [renderer(job)(k) for k in range(30)]
  assert all(1 <= len(r["text"]) <= 9 for r in records)
  assert any(not r["text"].isalpha() for r in records)
