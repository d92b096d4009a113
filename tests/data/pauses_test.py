"""Long recordings in parts: nothing lost, none too long, cut where it is quiet."""

import itertools

import numpy as np
import pytest

from mdm.data.pauses import cut_at_pauses

STEP = 10


def noise(count, seed=0):
  return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@pytest.mark.parametrize("count", [1, 199, 200, 201, 260, 399, 1_003, 5_000])
def test_parts_hold_all_samples_in_order_and_none_is_too_long_or_tiny(count):
  parts = cut_at_pauses(noise(count), 200, STEP)
  assert parts[0][0] == 0 and parts[-1][1] == count
  assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
  lengths = [end - first for first, end in parts]
  assert max(lengths) <= 200
  assert min(lengths) >= 50 or len(parts) == 1
  assert all(first % STEP == 0 for first, _ in parts)


def test_a_recording_that_is_not_too_long_stays_whole():
  assert cut_at_pauses(noise(200), 200, STEP) == [(0, 200)]


def test_cuts_lie_in_the_middle_of_pauses():
  samples = noise(500)
  for pause in (130, 290, 420):
    samples[pause : pause + 50] *= 0.01
  parts = cut_at_pauses(samples, 200, STEP)
  assert [first for first, _ in parts] == [0, 150, 310]


def test_of_several_pauses_the_quietest_counts():
  samples = noise(300)
  samples[110:160] *= 0.3
  samples[140:190] *= 0.01
  assert cut_at_pauses(samples, 200, STEP)[0] == (0, 160)


def test_parts_in_which_no_pause_can_be_are_refused():
  with pytest.raises(ValueError, match=r"parts of 119 samples.* at least 120"):
    cut_at_pauses(noise(500), 119, STEP)
