import pytest

from mdm.data.held_out import is_held_out
from mdm.data.rendering.words import load_words, split_words


def test_words_keep_to_length_alphabet_and_count():
  words = load_words(5_000, min_len=3, max_len=8)
  assert len(words) == len(set(words)) == 5_000
  assert all(3 <= len(w) <= 8 and w.isascii() and w.islower() for w in words)


def test_held_out_words_are_disjoint_and_about_their_share():
  words = load_words(20_000)
  train, test = split_words(words, share=0.1, seed=3)
  assert set(train).isdisjoint(test)
  assert len(train) + len(test) == 20_000
  assert abs(len(test) - 2_000) < 5 * (20_000 * 0.09) ** 0.5  # five deviations


def test_a_longer_list_moves_no_word_to_the_other_side():
  short, long = (set(split_words(load_words(n))[1]) for n in (1_000, 9_000))
  assert short == long & set(load_words(1_000))


def test_capitals_are_held_out_with_their_word():
  assert all(is_held_out(w) == is_held_out(w.upper()) for w in load_words(200))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"min_len": 9, "max_len": 8}, "min_len = 9"),
    ({"num_words": 1}, "num_words = 1"),
    ({"min_len": 60, "max_len": 70}, "60 to 70 letters"),
  ],
)
def test_options_without_words_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    load_words(**options)
