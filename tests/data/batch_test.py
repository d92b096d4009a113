import numpy as np
import pytest

from mdm.data.batch import check_batch


def make_batch(**changes):
  batch = dict(
    image=np.zeros((2, 32, 96, 1), np.uint8),
    tokens=np.zeros((2, 26), np.int32),
    valid=np.ones((2, 26), bool),
    index=np.arange(2, dtype=np.int32),
    weight=np.ones(2, np.float32),
  )
  return batch | changes


def test_a_batch_of_the_table_passes():
  check_batch(make_batch())


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(picture=np.zeros(2)), "'picture' is not in the table"),
    (dict(tokens=np.zeros((2, 26), np.int64)), "dtype int64; the table says int32"),
    (dict(image=np.zeros((2, 32, 96), np.uint8)), r"says \[b y x c\]"),
    (dict(valid=np.ones((2, 25), bool)), "25 along 'n'"),
    (dict(weight=np.ones(3, np.float32)), "3 along 'b'"),
  ],
)
def test_each_breach_names_entry_and_rule(changes, message):
  with pytest.raises(ValueError, match=message):
    check_batch(make_batch(**changes))


def test_index_and_weight_are_always_there():
  batch = make_batch()
  del batch["weight"]
  with pytest.raises(ValueError, match="weight"):
    check_batch(batch)
