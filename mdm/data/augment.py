"""Light changes of a batch on the fly, so that no two epochs show the same pixels.

Each example's changes are a function of (seed, place in the stream) alone, by a hash
that is computed for the whole batch at once: batches stay functions of the step for
any number of processes, at a cost of about a millisecond.
"""

import functools

import numpy as np
from jaxtyping import Float32, Int, UInt8

_TABLE = 1 << 18  # values of noise that are drawn once


def augment(
  images: UInt8[np.ndarray, "b y x c"],
  index: Int[np.ndarray, "b"],
  *,
  seed: int,
  strength: float,
) -> UInt8[np.ndarray, "b y x c"]:
  """Shifts, inverts, changes contrast and brightness, adds noise.

  Args:
    strength: 0 changes nothing; 1 shifts by up to a sixteenth of the height.
  """
  if strength == 0:
    return images
  draw = uniforms(seed, index, 7)  # b 7
  images = _shift(images, draw[:, 0], draw[:, 1], strength)
  pixels = images.astype(np.float32)
  gain = 1 + np.float32(0.3 * strength) * (2 * draw[:, 2] - 1)
  gain = np.where(draw[:, 3] < 0.5 * strength, -gain, gain)  # light on dark and back
  middle = np.float32(127.5)
  offset = np.float32(30 * strength) * (2 * draw[:, 4] - 1)
  deviation = np.float32(12 * strength) * draw[:, 5]
  noise = _noise(draw[:, 6], pixels[0].size).reshape(pixels.shape)
  pixels -= middle
  pixels *= gain[:, None, None, None]
  pixels += (middle + offset + np.float32(0.5))[:, None, None, None]
  pixels += deviation[:, None, None, None] * noise
  np.clip(pixels, 0, 255, out=pixels)
  return pixels.astype(np.uint8)


def uniforms(
  seed: int, index: Int[np.ndarray, "b"], count: int
) -> Float32[np.ndarray, "b k"]:
  """`count` numbers in [0, 1) per example, from its index and the seed alone.

  The mixing function is that of SplitMix64.
  """
  mask = (1 << 64) - 1
  start = np.uint64((seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & mask)
  lane = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
  z = index.astype(np.uint64)[:, None] * np.uint64(0xBF58476D1CE4E5B9)
  z = _mix(z ^ start) + lane
  return (_mix(z) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _mix(z: np.ndarray) -> np.ndarray:
  """SplitMix64's finaliser; arithmetic wraps around by intent."""
  z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return z ^ (z >> np.uint64(31))


def _shift(
  images: np.ndarray, right: np.ndarray, down: np.ndarray, strength: float
) -> np.ndarray:
  """Moves each image by up to a sixteenth of its height; edges are repeated."""
  reach = max(1, round(strength * images.shape[1] / 16))
  rows, columns = images.shape[1:3]
  padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "edge")
  top = (down * (2 * reach + 1)).astype(np.intp)
  left = (right * (2 * reach + 1)).astype(np.intp)
  moved = np.empty_like(images)
  for k, (y, x) in enumerate(zip(top, left, strict=True)):
    moved[k] = padded[k, y : y + rows, x : x + columns]
  return moved


def _noise(draw: np.ndarray, size: int) -> np.ndarray:
  """A stretch of the table of normal noise for each example."""
  table = _noise_table(size)
  windows = np.lib.stride_tricks.sliding_window_view(table, size)
  return windows[(draw * _TABLE).astype(np.intp)]


@functools.lru_cache(maxsize=8)
def _noise_table(size: int) -> np.ndarray:
  return np.random.default_rng(0).standard_normal(_TABLE + size, np.float32)
