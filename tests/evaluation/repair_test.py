import numpy as np

from mdm.evaluation.repair import replace_one


def _rows():
  tokens = np.array([[3, 1, 4, 0, 12], [5, 9, 2, 6, 0], [7, 0, 12, 12, 12]], np.int32)
  valid = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)
  return tokens, valid, np.array([10, 11, 12])


def test_exactly_one_character_is_replaced_and_never_the_end():
  tokens, valid, index = _rows()
  for shift in range(50):
    wrong, places = replace_one(tokens, valid, index + shift, 10)
    assert ((wrong != tokens).sum(1) == 1).all()
    rows = np.arange(3)
    assert (wrong[rows, places] != tokens[rows, places]).all()
    assert (tokens[rows, places] > 0).all()


def test_the_replacement_is_a_character():
  tokens, valid, index = _rows()
  wrong, places = replace_one(tokens, valid, index, 10)
  found = wrong[np.arange(3), places]
  assert (found >= 1).all() and (found <= 10).all()


def test_the_replacement_depends_on_the_record_alone():
  tokens, valid, index = _rows()
  wrong, _ = replace_one(tokens, valid, index, 10)
  alone, _ = replace_one(tokens[2:], valid[2:], index[2:], 10)
  assert (wrong[2] == alone[0]).all()
