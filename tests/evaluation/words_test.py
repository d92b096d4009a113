import numpy as np
import pytest

from mdm.evaluation.words import edit_distance, hide_bar, normalize, score_words


def test_normalize_keeps_letters_and_digits_only():
  assert normalize("O'Neil-42 é!") == "oneil42"


def test_score_ignores_case_and_punctuation():
  scores = score_words(["Word!", "nope"], ["wOrd", "yes"])
  assert scores["accuracy"] == 0.5 and scores["count"] == 2
  assert scores["accuracy_stderr"] == pytest.approx(np.sqrt(0.25 / 2))


def test_character_error_rate_is_edits_over_true_length():
  assert score_words(["kitten"], ["sitting"])["char_error_rate"] == pytest.approx(3 / 7)


@pytest.mark.parametrize(
  ("a", "b", "edits"), [("", "", 0), ("", "abc", 3), ("abc", "abd", 1), ("ab", "ba", 2)]
)
def test_edit_distance_counts_fewest_edits(a, b, edits):
  assert edit_distance(a, b) == edit_distance(b, a) == edits


def test_edit_distance_obeys_the_triangle_inequality():
  rng = np.random.default_rng(0)
  words = ["".join(rng.choice(list("ab"), rng.integers(0, 6))) for _ in range(12)]
  for a in words:
    for b in words:
      for c in words:
        assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_scores_need_one_prediction_per_word():
  with pytest.raises(ValueError, match="2 predictions for 1 words"):
    score_words(["a", "b"], ["a"])
  with pytest.raises(ValueError, match="at least one word"):
    score_words([], [])


def test_bar_hides_the_same_columns_of_a_record_in_any_batch():
  image = np.zeros((3, 8, 40, 1), np.uint8)
  index = np.array([5, 6, 7])
  whole = hide_bar(image, index, 0.25)
  alone = hide_bar(image[1:2], index[1:2], 0.25)
  assert (whole[1] == alone[0]).all()
  assert ((whole == 128).sum(2) == 10).all()
  assert (image == 0).all()


def test_bar_of_no_width_changes_nothing():
  image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
  assert hide_bar(image, np.array([0]), 0.0) is image
