"""Errors of transcripts: against jiwer's counts, pooled rates, bootstrap intervals."""

from pathlib import Path

import numpy as np
import pytest

from mdm.evaluation.edits import Edits, bootstrap, count_edits, error_rate

JIWER = Path(__file__).parents[1] / "parity" / "jiwer.npz"


@pytest.fixture(scope="module")
def jiwer():
  with np.load(JIWER) as stored:
    found = dict(stored)
  texts = [
    [" ".join("abcdefghij"[k] * (1 + k % 3) for k in row if k >= 0) for row in side]
    for side in found["pairs"]
  ]
  return texts, found


def test_a_thousand_pairs_have_the_counts_and_rates_of_jiwer(jiwer):
  texts, stored = jiwer
  words = [count_edits(r.split(), h.split()) for r, h in zip(*texts, strict=True)]
  chars = [count_edits(r, h) for r, h in zip(*texts, strict=True)]
  for found, name in ((words, "words"), (chars, "chars")):
    assert len(found) == 1_000
    np.testing.assert_array_equal([edit[:3] for edit in found], stored[name])
  assert [error_rate(words), error_rate(chars)] == pytest.approx(
    stored["rates"].tolist(), rel=1e-12
  )


def test_edits_are_the_fewest():
  rng = np.random.default_rng(0)

  def fewest(a, b):
    if not a or not b:
      return len(a) + len(b)
    return min(
      fewest(a[1:], b) + 1, fewest(a, b[1:]) + 1, fewest(a[1:], b[1:]) + (a[0] != b[0])
    )

  for _ in range(60):
    a, b = (rng.integers(0, 3, rng.integers(0, 6)).tolist() for _ in range(2))
    edits = count_edits(a, b)
    assert edits.errors == fewest(a, b) and edits.length == len(a)
    assert len(b) - len(a) == edits.insertions - edits.deletions


def test_rates_are_pooled_and_no_mean_of_rates():
  short, long = Edits(1, 0, 0, 1), Edits(0, 0, 0, 9)
  assert error_rate([short, long]) == pytest.approx(0.1)  # the mean would be 0.5


def test_an_empty_reference_counts_its_insertions_and_a_rate_may_be_above_1():
  empty = count_edits([], ["a", "b", "c"])
  assert empty == Edits(0, 0, 3, 0)
  assert error_rate([empty, Edits(0, 0, 0, 2)]) == 1.5


def test_no_reference_has_no_rate():
  with pytest.raises(ValueError, match="2 references have no token"):
    error_rate([Edits(0, 0, 3, 0)] * 2)


def test_an_interval_is_as_wide_as_sampling_says():
  rng = np.random.default_rng(0)
  edits = [Edits(int(wrong), 0, 0, 1) for wrong in rng.random(400) < 0.3]
  found = bootstrap(edits, resamples=4_000)
  share = error_rate(edits)
  wide = 1.96 * np.sqrt(share * (1 - share) / 400)
  assert found.value == pytest.approx(share)
  assert found.low == pytest.approx(share - wide, abs=0.006)
  assert found.high == pytest.approx(share + wide, abs=0.006)
  half = bootstrap(edits, resamples=4_000, level=0.5)
  assert found.low < half.low < half.high < found.high


def test_systems_that_fail_on_the_same_utterances_differ_surely():
  rng = np.random.default_rng(1)
  hard = rng.integers(0, 9, 100)
  ours = [Edits(int(k), 0, 0, 10) for k in hard]
  theirs = [Edits(int(k) + 1, 0, 0, 10) for k in hard]
  paired = bootstrap(ours, theirs)
  assert paired.value == pytest.approx(-0.1)
  assert paired.high - paired.low < 1e-9  # one error more in each utterance
  alone = bootstrap(ours)
  assert alone.high - alone.low > 0.05


def test_a_bootstrap_is_the_same_for_the_same_seed():
  edits = [Edits(k % 3, 0, 0, 5) for k in range(30)]
  assert bootstrap(edits) == bootstrap(edits)
  assert bootstrap(edits) != bootstrap(edits, seed=1)


def test_paired_systems_must_have_heard_the_same():
  with pytest.raises(ValueError, match="2 and 1 utterances"):
    bootstrap([Edits(0, 0, 0, 1)] * 2, [Edits(0, 0, 0, 1)])
