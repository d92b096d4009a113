"""Long recordings in parts, cut where it is quietest."""

import numpy as np
from jaxtyping import Float32

HOPS = 5  # neighbours over which loudness is taken


def cut_at_pauses(
  samples: Float32[np.ndarray, "s"], longest: int, step: int
) -> list[tuple[int, int]]:
  """`(first, end)` of parts that follow one another and hold all samples.

  A part that is too long ends in its second half, in the middle of the quietest
  `HOPS` steps; the last two share what is left, so that none is shorter than a quarter
  of the longest.

  Args:
    samples: of the whole recording.
    longest: samples that a part may have, twelve steps at least.
    step: samples on whose multiples cuts lie, as those of an encoder's frame.

  Raises:
    ValueError: parts too short to look for a pause in.
  """
  if step < 1 or longest < 12 * step:
    raise ValueError(
      f"parts of {longest} samples hold no pause of {HOPS} steps of {step}; allow at "
      f"least {12 * step}."
    )
  first, parts = 0, []
  while len(samples) - first > longest:
    rest = len(samples) - first
    low = -(-longest // (2 * step)) * step
    high = min(longest, rest - longest // 4)
    cut = first + low + _quietest(samples[first + low : first + high], step)
    parts.append((first, cut))
    first = cut
  return [*parts, (first, len(samples))]


def _quietest(samples: Float32[np.ndarray, "s"], step: int) -> int:
  """Where the middle of the quietest neighbouring steps begins."""
  count = len(samples) // step
  hops = samples[: count * step].reshape(count, step).astype(np.float64)
  window = np.ones(min(HOPS, max(count, 1)))
  energy = np.convolve(np.square(hops).sum(1), window, mode="valid")
  return (int(energy.argmin()) + len(window) // 2) * step if count else 0
