import numpy as np
import pytest

from mdm.api.scoring import encode_texts, make_score, read_texts
from mdm.data.text.characters import Characters
from mdm.evaluation.likelihood import Scored

ABC = Characters("abc")


def test_strings_are_texts_and_paths_are_files(tmp_path):
  path = tmp_path / "a.txt"
  path.write_text("abc\n")
  assert read_texts(["ab", path]) == [("'ab'", "ab"), (str(path), "abc")]
  assert read_texts("a" * 99)[0][0] == repr("a" * 37 + "...")


def test_missing_files_other_encodings_and_nothing_are_refused(tmp_path):
  (tmp_path / "latin").write_bytes("für".encode("latin-1"))
  with pytest.raises(ValueError, match=r"b\.txt is no file"):
    read_texts(tmp_path / "b.txt")
  with pytest.raises(ValueError, match="is not UTF-8"):
    read_texts([tmp_path / "latin"])
  with pytest.raises(ValueError, match="no text to score"):
    read_texts([])


def test_empty_texts_and_unknown_characters_are_named_with_their_source():
  with pytest.raises(ValueError, match=r"x\.txt is empty"):
    encode_texts([("x.txt", "")], ABC)
  with pytest.raises(ValueError, match=r"x\.txt: .*does not know: \['d'\]"):
    encode_texts([("y", "ab"), ("x.txt", "abd")], ABC)


def test_a_score_says_what_it_is():
  scored = Scored(np.array([2.0, 1.0]), np.array([0.1, 0.1]), np.array([2.0, 2.0]))
  bound, exact = (make_score("book", scored, 4, strata) for strata in (8, 0))
  assert bound.is_bound and not exact.is_bound and bound.windows == 2
  assert "upper bounds, 8 strata a window" in bound.describe()
  assert "; exact" in exact.describe() and "of its kind" in exact.describe()
  assert bound.to_json()["is_upper_bound"] is True
  assert bound.bits_per_char == bound.bits_per_token == pytest.approx(1.0820, abs=1e-4)
