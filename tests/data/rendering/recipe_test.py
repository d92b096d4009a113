import numpy as np
import pytest

from mdm.data.images import decode_image
from mdm.data.rendering.fonts import find_fonts
from mdm.data.rendering.recipe import (
  SPLITS,
  encode_png,
  make_jobs,
  renderer,
  rendering_speed,
)
from mdm.data.rendering.settings import STYLES, RenderSettings


@pytest.fixture(scope="module")
def jobs():
  return make_jobs(RenderSettings(), num_words=500)


def test_held_out_means_held_out(jobs):
  train = jobs["train"]
  families = {f.family for f in train.fonts}
  for split in ("test", "test_words"):
    assert set(jobs[split].words).isdisjoint(train.words)
  for split in ("test", "test_fonts"):
    assert families.isdisjoint(f.family for f in jobs[split].fonts)
  assert jobs["test_words"].fonts == train.fonts
  assert jobs["test_fonts"].words == train.words


def test_a_record_is_a_function_of_its_number(jobs):
  make = renderer(jobs["train"])
  backwards = [make(k) for k in (3, 2, 1, 0)][::-1]
  fresh = renderer(jobs["train"])
  assert [fresh(k) for k in range(4)] == backwards


def test_splits_and_seeds_differ(jobs):
  other = make_jobs(RenderSettings(), num_words=500, seed=1)
  images = [renderer(jobs[s])(0)["image"] for s in SPLITS]
  images.append(renderer(other["train"])(0)["image"])
  assert len(set(images)) == 5


def test_every_word_comes_before_one_comes_again(jobs):
  job = jobs["test"]
  make = renderer(job)
  words = [make(k)["text"] for k in range(len(job.words))]
  assert sorted(words) == sorted(job.words)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(jobs, channels):
  pixels = np.random.default_rng(0).integers(0, 256, (32, 96, channels), np.uint8)
  decoded = decode_image(encode_png(pixels), name="x", channels=channels)
  assert (decoded == pixels).all()


def test_too_few_words_to_hold_any_out_are_refused():
  with pytest.raises(ValueError, match="num_words = 2 leaves"):
    make_jobs(RenderSettings(), num_words=2)


@pytest.mark.parametrize("style", STYLES)
def test_rendering_speed_counts_images_of_one_core(style):
  fonts = [f for f in find_fonts() if f.family == "dejavu sans"]
  speed = rendering_speed(RenderSettings(style=style), fonts, seconds=0.2)
  assert speed["images"] > 0
  assert speed["images_per_s_per_core"] == pytest.approx(
    speed["images"] / speed["time_s"]
  )
