import numpy as np
import pytest

from mdm.data.rendering.fonts import find_fonts
from mdm.data.rendering.glyphs import draw_glyph, draw_word, drawable

FONT = next(f for f in find_fonts() if f.style == "dejavu sans book").path


def word(text, strength=0.0, seed=0, size=40):
  return np.asarray(draw_word(np.random.default_rng(seed), text, FONT, size, strength))


def test_a_word_is_cut_to_the_boxes_of_its_glyphs():
  drawn = word("Word")
  assert drawn[0].any() and drawn[-1].any()
  assert drawn[:, :5].any() and drawn[:, -5:].any()  # a box keeps the side bearings


def test_letters_stand_side_by_side_in_order():
  both, first = word("lo"), word("l")
  assert (both[:, : first.shape[1]] == first[: len(both)]).all()
  assert both.shape[1] >= first.shape[1] + word("o").shape[1] - 2


def test_spacing_grows_with_strength_now_and_then():
  widths = {word("spaced", strength=1.0, seed=k).shape[1] for k in range(20)}
  assert min(widths) == word("spaced").shape[1]
  assert max(widths) > 1.1 * min(widths)


def test_a_glyph_knows_where_it_stands():
  drawing, left, top, advance = draw_glyph(FONT, 40, "g")
  assert drawing.any()
  assert 0 <= left < advance and drawing.shape[1] <= advance + 2
  assert top > draw_glyph(FONT, 40, "l")[2]  # a small letter starts lower


def test_characters_without_a_glyph_are_left_out():
  assert drawable("a b\uffffc", FONT) == "abc"


def test_a_text_without_ink_is_refused():
  with pytest.raises(ValueError, match="has no ink"):
    word(" ")
