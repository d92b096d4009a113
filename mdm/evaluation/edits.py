"""Errors of transcripts: substitutions, deletions, insertions, and their rate.

  rate = sum of errors / sum of reference length

over all utterances together, which is no mean of the rates of single ones and may be
above 1. An empty reference has no length, but its insertions count. How sure a rate is
comes from a bootstrap over utterances, for two systems on the same utterances paired.

Source: *Bootstrap Estimates for Confidence Intervals in ASR Performance Evaluation*,
Bisani and Ney, 2004, section 3. Of equally short edits the one that jiwer counts.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

Tokens = Sequence[Hashable]


class Edits(NamedTuple):
  """Fewest changes that make a reference a hypothesis; `length` of the reference."""

  substitutions: int
  deletions: int
  insertions: int
  length: int

  @property
  def errors(self) -> int:
    """All changes."""
    return self.substitutions + self.deletions + self.insertions


def count_edits(reference: Tokens, hypothesis: Tokens) -> Edits:
  """The edits of one utterance; give words, or a string for its characters."""
  length = len(reference)
  start = _same(reference, hypothesis)
  reference, hypothesis = reference[start:], hypothesis[start:]
  end = _same(reference[::-1], hypothesis[::-1])
  reference = reference[: len(reference) - end]
  hypothesis = hypothesis[: len(hypothesis) - end]
  costs = _costs(reference, hypothesis)
  i, j = len(reference), len(hypothesis)
  substituted = deleted = inserted = 0
  while i and j:
    if costs[i, j] == costs[i - 1, j] + 1:
      deleted, i = deleted + 1, i - 1
    elif costs[i, j - 1] == costs[i - 1, j - 1] - 1:
      inserted, j = inserted + 1, j - 1
    else:
      substituted += reference[i - 1] != hypothesis[j - 1]
      i, j = i - 1, j - 1
  return Edits(substituted, deleted + i, inserted + j, length)


def error_rate(edits: Sequence[Edits]) -> float:
  """Errors of all utterances over the length of all references.

  Raises:
    ValueError: the references are empty, all of them or because there are none.
  """
  length = sum(edit.length for edit in edits)
  if not length:
    raise ValueError(
      f"{len(edits)} references have no token, so that errors have no rate; choose a "
      "split with transcripts."
    )
  return sum(edit.errors for edit in edits) / length


class Interval(NamedTuple):
  """A value, and where most resamples of the utterances put it."""

  value: float
  low: float
  high: float


def bootstrap(
  edits: Sequence[Edits],
  others: Sequence[Edits] | None = None,
  *,
  resamples: int = 1_000,
  level: float = 0.95,
  seed: int = 0,
) -> Interval:
  """The error rate, or its difference to that of `others`, with an interval.

  Utterances are drawn with replacement, as many as there are; for two systems the same
  ones, since what is hard for one is hard for the other.

  Args:
    edits: of each utterance.
    others: of the same utterances by another system; a negative difference says that
      the first one is better.
    resamples: how often is drawn.
    level: share of the resamples within the interval.

  Raises:
    ValueError: the systems heard unlike utterances; no reference has a token.
  """
  if others is not None and [e.length for e in edits] != [e.length for e in others]:
    raise ValueError(
      f"{len(edits)} and {len(others)} utterances do not have the same references; "
      "compare systems on the same split."
    )
  value = error_rate(edits) - (error_rate(others) if others is not None else 0.0)
  errors = np.array([edit.errors for edit in edits])
  if others is not None:
    errors = errors - np.array([edit.errors for edit in others])
  length = np.array([edit.length for edit in edits])
  chosen = np.random.default_rng(seed).integers(0, len(edits), (resamples, len(edits)))
  total = length[chosen].sum(1)
  rates = errors[chosen].sum(1)[total > 0] / total[total > 0]
  low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
  return Interval(value, float(low), float(high))


def _same(one: Tokens, other: Tokens) -> int:
  """How many tokens both begin with."""
  pairs = zip(one, other, strict=False)
  return next(
    (i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other))
  )


def _costs(reference: Tokens, hypothesis: Tokens) -> Int[np.ndarray, "r h"]:
  """Fewest edits between all beginnings of both."""
  place = np.arange(len(hypothesis) + 1)
  costs = [place]
  for i, token in enumerate(reference, 1):
    above = costs[-1]
    unlike = np.array([token != other for other in hypothesis], int)
    row = np.concatenate([[i], np.minimum(above[1:] + 1, above[:-1] + unlike)])
    costs.append(np.minimum.accumulate(row - place) + place)  # insertions
  return np.stack(costs)
