import math

import numpy as np
import pytest

from mdm.nn.positions import grid_sinusoids, sinusoids


def test_sinusoids_interleave_sine_and_cosine_as_in_the_paper():
  table = sinusoids(26, 12)
  for p in range(26):
    for i in range(6):
      angle = p / 10_000 ** (2 * i / 12)
      assert table[p, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
      assert table[p, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_shorter_table_is_the_start_of_a_longer_one():
  np.testing.assert_array_equal(sinusoids(5, 8), sinusoids(9, 8)[:5])


def test_grid_gives_one_half_to_the_row_and_the_other_to_the_column():
  table = grid_sinusoids(3, 4, 16).reshape(3, 4, 16)
  assert (table[:, :, :8] == table[:, :1, :8]).all()
  assert (table[:, :, 8:] == table[:1, :, 8:]).all()
  np.testing.assert_array_equal(table[:, 0, :8], sinusoids(3, 8))
  np.testing.assert_array_equal(table[0, :, 8:], sinusoids(4, 8))


def test_widths_that_cannot_be_split_are_refused():
  with pytest.raises(ValueError, match="width = 7 is odd"):
    sinusoids(3, 7)
  with pytest.raises(ValueError, match="multiple of 4"):
    grid_sinusoids(2, 2, 6)
