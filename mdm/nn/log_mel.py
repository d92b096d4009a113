"""Log-mel features of sound, as Kaldi, librosa and Google's recognisers compute them.

                  kaldi                    librosa             google
  samples times   32768                    1                   32768
  frames          whole ones               centred, 0 outside  whole ones of window + 1
  of n samples    1 + (n - w) // step      1 + n // step       1 + (n - w - 1) // step
  each frame      less its mean, then      as it is            x[i+1] - 0.97 x[i]
                  x[i] - 0.97 x[i-1]
  window          Povey: Hann^0.85,        Hann, periodic      Hann, periodic
                  symmetric
  transform       2^ceil(log2 w)           2^ceil(log2 w)      twice that, 1024 or more
  spectrum        power                    power               magnitude
  mel filters     HTK, 20 Hz to rate / 2   Slaney, all         HTK, 125 Hz to .475 rate
  natural log of  max(., 1.1920929e-7)     max(., 1e-10)       max(., 1)

w is the window of 25 ms and a step takes 10 ms. Frames that reach beyond a clip's end
are not valid, and 0; librosa's last ones see zeros there. Nothing depends on what a row
holds after its end, nor on how long the padding is.

Source: Kaldi's `fbank` (kaldi-native-fbank, torchaudio.compliance.kaldi); librosa's
`feature.melspectrogram`; `MelAsrFrontend` of github tensorflow/lingvo.
Differences: nothing is added to the samples unless `dither` and keys are given (Kaldi
adds 1, lingvo 8, units of 16 bits); librosa's decibels are natural logs here, and a
clip without samples has no frame.
"""

import dataclasses
import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Key

from mdm.kernels.dispatch import target_platform
from mdm.nn.mel import mel_edges, mel_filters

Count = TypeVar("Count", int, np.ndarray, jax.Array)
EMPHASIS = 0.97


class Convention(NamedTuple):
  """What a convention fixes: factor on samples, filters, their ends, lowest energy."""

  factor: float
  scale: str
  low: float
  high: float  # share of half the rate
  floor: float


CONVENTIONS = {
  "kaldi": Convention(32768.0, "htk", 20.0, 1.0, 1.1920929e-7),
  "librosa": Convention(1.0, "slaney", 0.0, 1.0, 1e-10),
  "google": Convention(32768.0, "htk", 125.0, 0.95, 1.0),
}


@dataclasses.dataclass(frozen=True)
class LogMel:
  """Settings of log-mel features; None leaves a value to the convention.

  Attributes:
    convention: "kaldi", "librosa" or "google".
    rate: samples per second.
    bins: mel filters; None is 80, below 16 kHz 40.
    frame_ms: milliseconds of a window.
    step_ms: from one frame's begin to the next one's.
    fft: samples of the Fourier transform, at least those of a window.
    low: frequency in Hz where the first filter begins.
    high: where the last one ends.
    dither: standard deviation of the noise on samples, in units of 16 bits; drawn only
      where `log_mel` gets keys.

  Raises:
    ValueError: an unknown convention, or a value that makes no frame or filter.
  """

  convention: str = "kaldi"
  rate: int = 16_000
  bins: int | None = None
  frame_ms: float = 25.0
  step_ms: float = 10.0
  fft: int | None = None
  low: float | None = None
  high: float | None = None
  dither: float = 0.0

  def __post_init__(self) -> None:
    if self.convention not in CONVENTIONS:
      raise ValueError(
        f"convention = {self.convention!r} is unknown; write one of "
        f"{', '.join(CONVENTIONS)}."
      )
    if self.window < 2 or self.step < 1:
      raise ValueError(
        f"frames of {self.frame_ms:g} ms every {self.step_ms:g} ms make {self.window} "
        f"and {self.step} samples at rate = {self.rate}; 2 and 1 are the least."
      )
    if self.size < self.window:
      raise ValueError(
        f"fft = {self.fft} is shorter than a window of {self.window} samples."
      )
    if self.num_bins < 1 or self.dither < 0:
      raise ValueError(
        f"bins = {self.bins} and dither = {self.dither:g}: a filter is the least, and "
        "noise has no negative deviation."
      )

  @property
  def window(self) -> int:
    """Samples under a window."""
    return self._samples(self.frame_ms)

  @property
  def step(self) -> int:
    """Samples from one frame to the next."""
    return self._samples(self.step_ms)

  @property
  def least(self) -> int:
    """Samples that make one frame."""
    return {"kaldi": self.window, "librosa": 1, "google": self.window + 1}[
      self.convention
    ]

  @property
  def size(self) -> int:
    """Samples of the transform, the window's and zeros."""
    if self.fft is not None:
      return self.fft
    if self.convention == "google":
      return 2 * max(512, _power_of_two(self.window + 1))
    return _power_of_two(self.window)

  @property
  def num_bins(self) -> int:
    """Features of a frame."""
    return self.bins if self.bins is not None else 80 if self.rate >= 16_000 else 40

  @property
  def band(self) -> tuple[float, float]:
    """Frequencies in Hz where the filters begin and end."""
    given = CONVENTIONS[self.convention]
    low = given.low if self.low is None else self.low
    return low, given.high * self.rate / 2 if self.high is None else self.high

  def centres(self) -> np.ndarray:
    """Frequency in Hz at which each filter peaks."""
    scale = CONVENTIONS[self.convention].scale
    return mel_edges(scale, self.num_bins, *self.band)[1:-1]

  def filters(self) -> np.ndarray:
    """What each bin of the transform gives each filter, [size / 2 + 1, bins].

    Raises:
      ValueError: as `mel_filters` does.
    """
    low, high = self.band
    return mel_filters(
      CONVENTIONS[self.convention].scale,
      rate=self.rate,
      size=self.size,
      bins=self.num_bins,
      low=low,
      high=high,
    )

  def _samples(self, milliseconds: float) -> int:
    """Samples in so many milliseconds; lingvo rounds, the others cut."""
    count = self.rate * milliseconds / 1000
    return round(count) if self.convention == "google" else int(count)


def num_frames(samples: Count, settings: LogMel) -> Count:
  """Frames of clips with so many samples: of one, or of an array of them."""
  first = 0 if settings.convention == "librosa" else settings.least
  return (1 + (samples - first) // settings.step) * (samples >= settings.least)


def log_mel(
  audio: Float[Array, "b s"],
  length: Int[Array, "b"],
  settings: LogMel,
  *,
  keys: Key[Array, "b"] | None = None,
) -> tuple[Float32[Array, "b f c"], Bool[Array, "b f"]]:
  """Log-mel features of clips, and which of their frames are valid.

  Args:
    audio: samples in [-1, 1].
    length: how many of a row are the clip's.
    settings: which features.
    keys: one per row, for noise of `settings.dither`; None adds none.

  Returns:
    Natural logs, exactly 0 in frames that are not valid, and True for those that are. A
    batch shorter than one frame has one, which is not valid.

  Raises:
    ValueError: as `LogMel.filters` does.
  """
  filters = jnp.asarray(settings.filters())  # k c
  given = CONVENTIONS[settings.convention]
  real = jnp.arange(audio.shape[1]) < length[:, None]
  samples = jnp.where(real, audio.astype(jnp.float32) * given.factor, 0.0)
  frames = _condition(_cut_frames(samples, settings), settings, keys)  # b f w
  spectrum = power_spectrum(frames * _window(settings), settings.size)  # b f k
  if settings.convention == "google":
    spectrum = jnp.sqrt(jnp.maximum(spectrum, 1e-20))  # has a slope at 0
  exact = jax.lax.Precision.HIGHEST
  energy = jnp.einsum("bfk,kc->bfc", spectrum, filters, precision=exact)
  features = jnp.log(jnp.maximum(energy, given.floor))
  valid = jnp.arange(frames.shape[1]) < num_frames(length, settings)[:, None]
  return jnp.where(valid[:, :, None], features, 0.0), valid


def power_spectrum(
  frames: Float32[Array, "b f w"], size: int
) -> Float32[Array, "b f k"]:
  """Squared magnitudes of the real Fourier transform of frames with zeros at their end.

  A product with cosines and sines: XLA cuts it by rows, where it would gather all
  frames on every device for a fast transform. On one CPU device, the fast one.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if target_platform() == "cpu" and (mesh.empty or mesh.size == 1):
    z = jnp.fft.rfft(frames, size)
    return jnp.square(z.real) + jnp.square(z.imag)
  window, bins = frames.shape[2], size // 2 + 1
  turns = np.outer(np.arange(window), np.arange(bins)) % size / size  # w k
  waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)
  z = jnp.matmul(frames, waves.astype(np.float32), precision=jax.lax.Precision.HIGHEST)
  return jnp.square(z[..., :bins]) + jnp.square(z[..., bins:])


def _cut_frames(
  samples: Float32[Array, "b s"], settings: LogMel
) -> Float32[Array, "b f w"]:
  """Overlapping frames, put together from steps that follow each other."""
  width = settings.least if settings.convention == "google" else settings.window
  before = 0
  if settings.convention == "librosa":  # its window lies in the middle of the transform
    before = settings.size // 2 - (settings.size - settings.window) // 2
  rows, present = samples.shape
  count, step = max(1, num_frames(present, settings)), settings.step
  pieces = -(-width // step)
  total = (count + pieces - 1) * step
  samples = jnp.pad(samples, ((0, 0), (before, max(0, total - before - present))))
  steps = samples[:, :total].reshape(rows, count + pieces - 1, step)
  parts = [steps[:, i : i + count] for i in range(pieces)]
  return jnp.concatenate(parts, axis=2)[:, :, :width]


def _condition(
  frames: Float32[Array, "b f w"], settings: LogMel, keys: Key[Array, "b"] | None
) -> Float32[Array, "b f u"]:
  """Noise, means and pre-emphasis, in each convention's order."""

  def add_noise(frames: Array) -> Array:
    """Normal noise, each row's from its own key."""
    if keys is None or not settings.dither:
      return frames
    noise = jax.vmap(lambda key: jax.random.normal(key, frames.shape[1:]))(keys)
    unit = CONVENTIONS[settings.convention].factor / 32768
    return frames + settings.dither * unit * noise

  if settings.convention == "google":
    return add_noise(frames[:, :, 1:] - EMPHASIS * frames[:, :, :-1])
  frames = add_noise(frames)
  if settings.convention == "librosa":
    return frames
  frames = frames - frames.mean(axis=2, keepdims=True)
  previous = jnp.concatenate([frames[:, :, :1], frames[:, :, :-1]], axis=2)
  return frames - EMPHASIS * previous


def _window(settings: LogMel) -> Float32[np.ndarray, "w"]:
  """What each sample of a frame is multiplied by."""
  is_kaldi, count = settings.convention == "kaldi", settings.window
  turns = np.arange(count) / (count - 1 if is_kaldi else count)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * turns)
  return (hann**0.85 if is_kaldi else hann).astype(np.float32)


def _power_of_two(count: int) -> int:
  """The least power of 2 that is not below `count`."""
  return 2 ** math.ceil(math.log2(count))
