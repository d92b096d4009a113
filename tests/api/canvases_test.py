import pytest

from mdm.api.canvases import make_canvas, read_template
from mdm.data.text.characters import Characters

MASK = 3
ABC = Characters("abc")


def test_holes_of_one_and_of_many_tokens_are_read_in_order():
  assert read_template("a[MASK]b[MASK:12]") == ["a", 1, "b", 12]
  assert read_template("[MASK][MASK:2]c") == [1, 2, "c"]


@pytest.mark.parametrize(
  ("template", "answer"),
  [
    ("abc", "no hole; write"),
    ("a[MASK:0]", "hides nothing"),
    ("a[MASK:x]b[MASK]", r"\[MASK:x\] is no hole"),
    ("a[mask]b[MASK]", r"\[mask\] is no hole"),
    ("a[MASK:-1]", r"\[MASK:-1\] is no hole"),
  ],
)
def test_what_is_no_template_is_refused(template, answer):
  with pytest.raises(ValueError, match=answer):
    read_template(template)


def test_brackets_that_are_no_holes_are_text():
  assert read_template("[a][MASK]") == ["[a]", 1]


def test_a_canvas_hides_holes_and_keeps_the_rest():
  canvas = make_canvas(["ab", 2, "c"], ABC, mask_id=MASK)
  assert canvas.tokens.tolist() == [0, 1, MASK, MASK, 2]
  assert canvas.given.tolist() == [True, True, False, False, True]
  assert canvas.valid.all()


def test_a_longer_canvas_is_hidden_behind_what_is_given():
  canvas = make_canvas(["ab"], ABC, mask_id=MASK, length=4)
  assert canvas.tokens.tolist() == [0, 1, MASK, MASK] and canvas.valid.all()


def test_padding_makes_whole_blocks_and_is_not_valid():
  canvas = make_canvas(["ab", 3], ABC, mask_id=MASK, multiple=4)
  assert len(canvas.tokens) == 8 and canvas.valid.tolist() == [True] * 5 + [False] * 3
  assert not canvas.given[2:].any()


@pytest.mark.parametrize("prompt", ["abca", "abcab"])
def test_a_prompt_that_leaves_nothing_to_fill_is_refused(prompt):
  with pytest.raises(ValueError, match="leaves nothing to fill on a canvas of 4"):
    make_canvas([prompt], ABC, mask_id=MASK, length=4)


def test_unknown_characters_are_named():
  with pytest.raises(ValueError, match=r"does not know: \['x'\]"):
    make_canvas(["abx"], ABC, mask_id=MASK, length=9)


def test_an_empty_canvas_is_refused():
  with pytest.raises(ValueError, match="length = 0 must be 1"):
    make_canvas([""], ABC, mask_id=MASK, length=0)
