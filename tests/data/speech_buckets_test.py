import numpy as np
import pytest

from mdm.data.datasets import read_settings
from mdm.data.speech_buckets import (
  bucket_lengths,
  rows_multiple,
  step_samples,
  token_lengths,
)

SAMPLES = np.array([800, 8_000, 8_001, 15_999, 30_001])


def settings(**changes):
  return read_settings({"name": "speech", **changes})


def lengths(samples=SAMPLES, rate=8_000, **changes):
  """Padded lengths under some settings."""
  return bucket_lengths(np.asarray(samples), settings(**changes), rate).tolist()


def test_a_recording_is_padded_to_the_shortest_bucket_that_holds_it():
  assert lengths(buckets=(1, 2, 4)) == [8_000, 8_000, 16_000, 16_000, 32_000]
  assert lengths(buckets=(1, 2, 4, 9)) == [8_000, 8_000, 16_000, 16_000, 32_000]


def test_what_no_bucket_holds_is_padded_to_the_longest_in_steps_of_40_ms():
  found = lengths(buckets=(1, 2))
  assert found[:4] == [8_000, 8_000, 16_000, 16_000]
  assert found[4] == 30_080  # 94 times 320
  assert lengths(buckets=()) == [30_080] * 5
  assert [step_samples(rate) for rate in (8_000, 16_000, 22_050)] == [320, 640, 882]


def test_a_crop_and_the_most_seconds_end_a_bucket():
  cropped = np.minimum(SAMPLES, 12_000)
  assert lengths(cropped, buckets=(1, 2), crop_seconds=1.5) == [
    8_000, 8_000, 12_000, 12_000, 12_000
  ]  # fmt: skip
  assert lengths(buckets=(1, 8), max_seconds=5)[-1] == 40_000


def test_lengths_hold_every_recording_at_any_rate():
  rng = np.random.default_rng(0)
  for rate in (8_000, 16_000, 22_050):
    samples = rng.integers(1, 20 * rate, 200)
    found = np.array(lengths(samples, rate))
    assert (found >= samples).all()
    assert len(np.unique(found)) <= 11


def test_tokens_are_padded_to_the_most_of_their_bucket():
  counts = np.array([3, 8, 9, 1, 0])
  found = token_lengths(counts, np.array([1, 1, 2, 2, 3]))
  assert found.tolist() == [8, 8, 16, 16, 8]


@pytest.mark.parametrize(
  ("seconds", "budget", "rows"), [(1, None, 1), (1, 12, 12), (1.5, 12, 8), (16, 12, 1)]
)
def test_rows_fill_the_budget_and_are_at_least_those_of_a_batch(seconds, budget, rows):
  found = rows_multiple(int(seconds * 8_000), settings(budget_seconds=budget), 8_000)
  assert found == rows
