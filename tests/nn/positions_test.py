import math

import numpy as np
import pytest

from mdm.nn.positions import sinusoids


def test_sinusoids_interleave_sine_and_cosine_as_in_the_paper():
  table = sinusoids(26, 12)
  for p in range(26):
    for i in range(6):
      angle = p / 10_000 ** (2 * i / 12)
      assert table[p, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
      assert table[p, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_shorter_table_is_the_start_of_a_longer_one():
  np.testing.assert_array_equal(sinusoids(5, 8), sinusoids(9, 8)[:5])


def test_odd_widths_are_refused():
  with pytest.raises(ValueError, match="width = 7 is odd"):
    sinusoids(3, 7)
