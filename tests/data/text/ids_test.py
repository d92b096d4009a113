import numpy as np
import pytest

from mdm.data.text.ids import plain_ids


@pytest.mark.parametrize("ids", [[1, 0, 7], np.array([1, 0, 7]), np.uint8([[1, 0, 7]])])
def test_lists_and_arrays_become_whole_numbers(ids):
  found = plain_ids(ids)
  assert found == [1, 0, 7]
  assert all(type(k) is int for k in found)


def test_a_negative_id_is_refused():
  with pytest.raises(ValueError, match="token id -2 is negative"):
    plain_ids([3, -2])
