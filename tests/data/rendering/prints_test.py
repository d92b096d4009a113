import numpy as np
import pytest

from mdm.data.rendering.fonts import find_fonts
from mdm.data.rendering.prints import (
  choose_font,
  render,
  vary_case,
)
from mdm.data.rendering.settings import RenderSettings

FONT = next(f for f in find_fonts() if f.style == "dejavu sans book")
CLEAN = RenderSettings(strength=0.0)


def draw(seed, text="reading", settings=CLEAN):
  return render(np.random.default_rng(seed), text, FONT, settings)


def ink(image):
  """Where a clean image is darker than halfway."""
  return image[:, :, 0] < 128


def test_the_image_is_a_function_of_the_generator():
  hard = RenderSettings(strength=1.0)
  assert (draw(5, settings=hard) == draw(5, settings=hard)).all()
  assert (draw(5, settings=hard) != draw(6, settings=hard)).any()


@pytest.mark.parametrize("size", [(32, 96), (48, 64), (32, 192)])
@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_channels_are_those_asked_for(size, channels):
  image = draw(0, settings=RenderSettings(size, channels, 1.0))
  assert image.shape == (*size, channels)
  assert image.dtype == np.uint8


def test_a_clean_word_is_black_on_white_and_fills_the_crop():
  for seed in range(5):
    image = draw(seed)
    assert image.min() < 10
    assert image.max() == 255
    rows, columns = ink(image).any(1).nonzero()[0], ink(image).any(0).nonzero()[0]
    assert rows[0] < 8
    assert rows[-1] > 23
    assert columns[0] < 14
    assert columns[-1] > 81
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (border > 128).mean() > 0.95


def test_a_clean_l_is_one_upright_stroke():
  """A bar pins the geometry: wrong signs or axes would turn or mirror it."""
  columns = ink(draw(1, "L")).mean(0)
  first = columns.nonzero()[0][0]
  assert columns[first] > 0.5  # the stem stands at the left
  rows = ink(draw(1, "L")).mean(1)
  assert rows.argmax() > 16  # the foot is below


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_ink_and_ground_stay_apart(strength):
  """The spread of grey levels of a word is above that of noise alone."""
  settings = RenderSettings(strength=strength)
  spreads = [
    np.ptp(np.percentile(draw(s, settings=settings), [3, 97])) for s in range(50)
  ]
  assert min(spreads) > 25
  assert np.median(spreads) > 70


def test_both_polarities_appear_when_photographs_are_asked_for():
  borders = [
    draw(s, settings=RenderSettings(strength=0.8))[:2].mean() for s in range(60)
  ]
  dark = np.mean(np.array(borders) < 128)
  assert 0.25 < dark < 0.75


def test_different_words_give_different_images():
  assert (draw(0, "abode") != draw(0, "above")).any()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"strength": 1.5}, r"strength = 1\.5 lies outside"),
    ({"channels": 2}, "channels = 2"),
    ({"image_size": (4, 96)}, "image_size"),
    ({"case": "upper"}, "case = 'upper'"),
    ({"style": "film"}, "style = 'film'"),
    ({"texts": "poems"}, "texts = 'poems'"),
  ],
)
def test_settings_out_of_range_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    RenderSettings(**options)


def test_a_text_without_ink_is_refused():
  with pytest.raises(ValueError, match="no ink"):
    draw(0, " ")


def test_families_are_equally_likely_whatever_their_styles():
  other = next(f for f in find_fonts() if f.family == "dejavu serif")
  families = [[FONT] * 9, [other]]
  rng = np.random.default_rng(0)
  share = np.mean([choose_font(rng, families) == other for _ in range(400)])
  assert abs(share - 0.5) < 0.1  # four deviations


def test_mixed_case_shows_all_three_forms_and_lower_none():
  rng = np.random.default_rng(0)
  assert {vary_case(rng, "word", "mixed") for _ in range(50)} == {
    "word",
    "Word",
    "WORD",
  }
  assert {vary_case(rng, "word", "lower") for _ in range(50)} == {"word"}
