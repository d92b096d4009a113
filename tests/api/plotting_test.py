import numpy as np
import pytest
from PIL import Image

from mdm import api
from mdm.evaluation import text_plots


def test_a_text_being_written_is_a_picture(tiny_text, tmp_path):
  api.plot(tiny_text.run, [], tmp_path / "a.png", prompt="and god", steps=3, length=12)
  with Image.open(tmp_path / "a.png") as picture:
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
  found = {tuple(color) for color in pixels}
  assert {text_plots.HIDDEN, text_plots.NEW, text_plots.GIVEN} <= found


def test_two_texts_make_one_film(tiny_text, tmp_path):
  api.plot(
    tiny_text.run, [], tmp_path / "a.gif", template="and [MASK:3]", count=2, steps=3
  )
  with Image.open(tmp_path / "a.gif") as film:
    assert 2 <= film.n_frames <= 4


def test_settings_of_the_other_kind_are_refused(tiny, tiny_text, tmp_path):
  out = tmp_path / "a.png"
  with pytest.raises(ValueError, match="'prompt' is not a setting of readers"):
    api.plot(tiny.run, [], out, prompt="and")
  with pytest.raises(ValueError, match="'decoder' is not a setting of samplers"):
    api.plot(tiny_text.run, [], out, decoder="lc")
  with pytest.raises(ValueError, match="reads no images"):
    api.plot(tiny_text.run, ["word.png"], out)
