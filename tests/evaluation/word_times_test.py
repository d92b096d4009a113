"""Words and their times, whatever tokens they are made of."""

import pytest

from mdm.data.text.characters import Characters
from mdm.data.text.tokenizers import Bytes
from mdm.evaluation.word_times import Word, time_words

LETTERS = Characters(" abcdefghijklmnopqrstuvwxyz")


def said(text, frames, tokenizer=LETTERS):
  return time_words(tokenizer.encode(text), frames, tokenizer.decode, 0.04)


def test_a_word_lasts_from_its_first_letter_to_the_end_of_its_last_ones_frame():
  assert said("so it", [2, 5, 6, 10, 12]) == [Word("so", 0.08, 0.24),
                                              Word("it", 0.4, 0.52)]  # fmt: skip


def test_spaces_belong_to_no_word_wherever_they_are():
  assert said("  a  b ", [0, 1, 3, 4, 5, 8, 20]) == [Word("a", 0.12, 0.16),
                                                     Word("b", 0.32, 0.36)]  # fmt: skip


def test_pieces_of_words_join():
  pieces = ["ab", "##c", "d", "##"]

  def decode(ids):
    return " ".join(pieces[k] for k in ids).replace(" ##", "")

  found = time_words([0, 1, 2], [1, 4, 9], decode, 1.0)
  assert found == [Word("abc", 1, 5), Word("d", 9, 10)]


def test_bytes_of_one_letter_are_one_word():
  found = said("é a", [3, 4, 5, 7], Bytes())
  assert found == [Word("é", 0.12, 0.2), Word("a", 0.28, 0.32)]


def test_unknown_frames_give_words_without_times():
  assert said("a b", [-1, -1, -1]) == [Word("a", None, None), Word("b", None, None)]


@pytest.mark.parametrize("text", ["", "  "])
def test_nothing_said_has_no_words(text):
  assert said(text, list(range(len(text)))) == []


def test_a_word_is_written_as_plain_types():
  assert Word("so", 0.1, 0.2).to_json() == {"word": "so", "begin_s": 0.1, "end_s": 0.2}
