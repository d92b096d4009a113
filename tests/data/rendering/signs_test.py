import string

import numpy as np
import pytest

from mdm.data.rendering.signs import draw_sign
from mdm.data.rendering.words import load_words

WORDS = load_words(5_000, min_len=1, max_len=20)


@pytest.fixture(scope="module")
def signs():
  """Four thousand texts."""
  return [draw_sign(np.random.default_rng(k), WORDS, max_len=12) for k in range(4_000)]


def test_a_text_is_a_function_of_its_generator(signs):
  assert draw_sign(np.random.default_rng(7), WORDS, max_len=12) == signs[7]


def test_texts_are_printable_without_spaces_and_no_longer_than_asked(signs):
  printable = set(string.printable) - set(string.whitespace)
  assert all(1 <= len(t) <= 12 and printable.issuperset(t) for t in signs)


def test_every_letter_digit_and_most_punctuation_occur(signs):
  seen = set("".join(signs))
  assert seen.issuperset(string.ascii_letters + string.digits)
  assert len(seen & set(string.punctuation)) >= 20


def test_capitals_lower_case_and_numbers_have_their_shares(signs):
  upper = np.mean([t.isupper() for t in signs])
  digits = np.mean([t.isdigit() for t in signs])
  assert 0.35 < upper < 0.55
  assert 0.05 < digits < 0.12


def test_frequent_words_come_more_often():
  rank = {word: k for k, word in enumerate(WORDS)}
  texts = (draw_sign(np.random.default_rng(k), WORDS).lower() for k in range(3_000))
  ranks = [rank[t] for t in texts if t in rank]
  assert np.median(ranks) < 0.4 * len(WORDS)
