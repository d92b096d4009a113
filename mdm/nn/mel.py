"""Mel scales and the triangular filters that lie on them, in NumPy.

  "htk"     mel(f) = 1127 ln(1 + f / 700); triangles in mel, each of height 1
  "slaney"  mel(f) = 3 f / 200 up to 1 kHz, 15 + 27 ln(f / 1000) / ln 6.4 above;
            triangles in Hz, each of area 1 per Hz

Kaldi and Google's recognisers take the first, librosa the second.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

SCALES = ("htk", "slaney")
KNEE_HZ, KNEE_MEL, LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


def to_mel(hertz: Any, scale: str) -> Any:
  """Place of a frequency, or of an array of them, on a mel scale."""
  hertz = np.asarray(hertz, np.float64)
  if scale == "htk":
    return 1127 * np.log1p(hertz / 700)
  above = KNEE_MEL + np.log(np.maximum(hertz, KNEE_HZ) / KNEE_HZ) / LOG_STEP
  return np.where(hertz < KNEE_HZ, hertz * 3 / 200, above)


def to_hertz(mel: Any, scale: str) -> Any:
  """Frequency at a place of a mel scale: undoes `to_mel`."""
  mel = np.asarray(mel, np.float64)
  if scale == "htk":
    return 700 * np.expm1(mel / 1127)
  above = KNEE_HZ * np.exp(LOG_STEP * (np.maximum(mel, KNEE_MEL) - KNEE_MEL))
  return np.where(mel < KNEE_MEL, mel * 200 / 3, above)


def mel_edges(
  scale: str, bins: int, low: float, high: float
) -> Float64[np.ndarray, "e"]:
  """Frequencies where triangles begin, peak and end: filter i has i, i + 1, i + 2."""
  return to_hertz(np.linspace(to_mel(low, scale), to_mel(high, scale), bins + 2), scale)


@functools.lru_cache
def mel_filters(
  scale: str, *, rate: int, size: int, bins: int, low: float, high: float
) -> Float32[np.ndarray, "k c"]:
  """What each of the k = size / 2 + 1 bins of a Fourier transform gives each filter.

  Args:
    scale: "htk" or "slaney".
    rate: samples per second.
    size: samples of the transform.
    bins: filters.
    low: frequency in Hz where the first begins.
    high: where the last ends.

  Raises:
    ValueError: an unknown scale, frequencies outside [0, rate / 2] or in the wrong
      order, or filters so narrow that one holds no bin.
  """
  if scale not in SCALES:
    raise ValueError(f"scale = {scale!r} is unknown; write {' or '.join(SCALES)}.")
  if not 0 <= low < high <= rate / 2:
    raise ValueError(
      f"mel filters from low = {low:g} to high = {high:g} Hz do not lie in order "
      f"within 0 and {rate / 2:g} Hz, half the rate."
    )
  edges = mel_edges(scale, bins, low, high)
  places = np.arange(size // 2 + 1) * rate / size
  if scale == "htk":
    edges, places = to_mel(edges, scale), to_mel(places, scale)
  left, centre, right = edges[:-2], edges[1:-1], edges[2:]
  rise = (places[:, None] - left) / (centre - left)  # k c
  fall = (right - places[:, None]) / (right - centre)
  weights = np.maximum(0, np.minimum(rise, fall))
  if scale == "slaney":
    weights *= 2 / (right - left)
  empty = np.flatnonzero(weights.max(axis=0) < 1e-12)
  if len(empty):
    raise ValueError(
      f"{len(empty)} of bins = {bins} mel filters, the first number {empty[0]}, hold "
      f"no bin of a transform of fft = {size}; take fewer bins or a longer fft."
    )
  return weights.astype(np.float32)
