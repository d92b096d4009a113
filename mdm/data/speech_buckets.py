"""Lengths that recordings are padded to, so that few programs are compiled."""

import math

import numpy as np
from jaxtyping import Int

from mdm.data.speech_settings import SpeechSettings

STEP_SECONDS = 0.04  # four frames of 10 ms, one of an encoder
TOKENS_STEP = 8  # token axes are multiples of it


def step_samples(rate: int) -> int:
  """Samples of 40 ms, the grid of lengths and crops."""
  return max(1, round(STEP_SECONDS * rate))


def bucket_lengths(
  samples: Int[np.ndarray, "n"], settings: SpeechSettings, rate: int
) -> Int[np.ndarray, "n"]:
  """Samples that each recording is padded to: the shortest bucket that holds it.

  `max_seconds` and `crop_seconds` end a bucket too. What is longer than all is padded
  to the longest recording, rounded up to 40 ms.

  Args:
    samples: of each recording as it is handed out, cropped where it is.
    rate: samples per second.
  """
  step = step_samples(rate)
  longest = -(-int(samples.max()) // step) * step
  seconds = [*settings.buckets, settings.max_seconds or 0, settings.crop_seconds or 0]
  sizes = {math.ceil(s * rate) for s in seconds if s}
  top = min((size for size in sizes if size >= longest), default=longest)
  edges = np.array(sorted({size for size in sizes if size < top} | {top}))
  return edges[np.searchsorted(edges, samples)]


def token_lengths(
  counts: Int[np.ndarray, "n"], lengths: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
  """Tokens that each transcript is padded to: the most of its bucket, rounded up."""
  found = np.zeros_like(counts)
  for length in np.unique(lengths):
    rows = lengths == length
    most = max(1, int(counts[rows].max()))
    found[rows] = -(-most // TOKENS_STEP) * TOKENS_STEP
  return found


def rows_multiple(samples: int, settings: SpeechSettings, rate: int) -> int:
  """How many times `train.batch` rows a batch of a bucket has."""
  if settings.budget_seconds is None:
    return 1
  return max(1, int(settings.budget_seconds * rate) // samples)
