"""Writes log_mel.npz: what Kaldi's, librosa's and lingvo's features of clips are.

  python tests/parity/make_log_mel.py [OUTPUT]

The interpreter needs torch, torchaudio, kaldi-native-fbank and librosa (tried: torch
2.13, torchaudio 2.11 of which one file is read, kaldi-native-fbank 1.23, librosa 0.11).
Lingvo's front end needs TensorFlow 1; its formula is written out in float64 here,
after `lingvo/tasks/asr/frontend.py`. Nothing of it is needed to run the tests, which
read the numbers. The keys are listed in README.md beside this file.
"""

import importlib.util
import pathlib
import sys
from unittest import mock

import numpy as np

CASES = {  # rate, filters, samples of the transform
  "16k": (16_000, 80, 512),
  "8k": (8000, 40, 256),
  "8k_80": (8000, 80, 512),
}
SECONDS = 0.35


def main(output: str) -> None:
  numbers = {}
  for case, (rate, bins, size) in CASES.items():
    for name, stored in make_clips(rate).items():
      numbers[f"input/{case}/{name}"] = stored
      clip = stored.astype(np.float64)
      window = 25 * rate // 1000
      found = {"librosa": librosa_features(clip / 32768, rate, bins, size)}
      if len(clip) >= window:
        found["torchaudio"] = torchaudio_features(clip, rate, bins, size)
      if len(clip) >= window and size < 2 * window:  # it takes no longer transform
        found["native"] = native_features(clip, rate, bins)
      if len(clip) > window:
        found["lingvo"] = lingvo_features(clip, rate, bins)
      for kind, features in found.items():
        numbers[f"output/{case}/{name}/{kind}"] = features.astype(np.float32)
  np.savez_compressed(output, **numbers)
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def make_clips(rate: int) -> dict[str, np.ndarray]:
  """Samples of 16 bits: a vowel that glides, a tone, silence, and noise of few."""
  rng = np.random.default_rng(0)
  t = np.arange(int(SECONDS * rate)) / rate
  pitch = np.cumsum(120 + 60 * t / SECONDS) / rate
  voice = np.zeros_like(t)
  for harmonic in range(1, int(rate / 2 / 180)):
    f = harmonic * (120 + 60 * t / SECONDS)
    peaks = sum(np.exp(-(((f - c) / 150) ** 2)) for c in (600, 1300, 2500))
    voice += (0.02 + peaks) * np.sin(2 * np.pi * harmonic * pitch)
  voice = 0.3 * voice / np.abs(voice).max() + 0.003 * rng.normal(size=t.shape)
  window = 25 * rate // 1000
  noise = 0.05 * rng.normal(size=window + 1)
  clips = {
    "voice": voice,
    "tone": 0.1 * np.sin(2 * np.pi * 1000 * t[: rate // 10]),
    "silence": np.zeros(rate // 20),
    "less": noise[: window - 1],
    "window": noise[:window],
    "more": noise[: window + 1],
  }
  return {k: np.round(32768 * clip).astype(np.int16) for k, clip in clips.items()}


def torchaudio_features(
  clip: np.ndarray, rate: int, bins: int, size: int
) -> np.ndarray:
  """Of torchaudio in float64; where its transform is too short, of a longer one."""
  import torch

  place = pathlib.Path(importlib.util.find_spec("torchaudio").origin).parent
  spec = importlib.util.spec_from_file_location("kaldi", place / "compliance/kaldi.py")
  kaldi = importlib.util.module_from_spec(spec)
  with mock.patch.dict(sys.modules, {"torchaudio": mock.MagicMock()}):
    spec.loader.exec_module(kaldi)
  kaldi._next_power_of_2 = lambda x: size
  with torch.no_grad():
    features = kaldi.fbank(
      torch.from_numpy(clip)[None],
      sample_frequency=rate,
      num_mel_bins=bins,
      dither=0.0,
      energy_floor=1.0,
    )
  return features.numpy()


def native_features(clip: np.ndarray, rate: int, bins: int) -> np.ndarray:
  """Of kaldi-native-fbank, float32."""
  import kaldi_native_fbank

  options = kaldi_native_fbank.FbankOptions()
  options.frame_opts.samp_freq = rate
  options.frame_opts.dither = 0
  options.mel_opts.num_bins = bins
  fbank = kaldi_native_fbank.OnlineFbank(options)
  fbank.accept_waveform(rate, clip.tolist())
  fbank.input_finished()
  return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def librosa_features(clip: np.ndarray, rate: int, bins: int, size: int) -> np.ndarray:
  """Of librosa, the transform in float64."""
  import librosa

  energy = librosa.feature.melspectrogram(
    y=clip,
    sr=rate,
    n_fft=size,
    win_length=25 * rate // 1000,
    hop_length=rate // 100,
    n_mels=bins,
  )
  return np.log(np.maximum(energy, 1e-10)).T


def lingvo_features(clip: np.ndarray, rate: int, bins: int) -> np.ndarray:
  """By the formula of lingvo's `MelAsrFrontend` without noise, one frame at a time."""
  window, size = 25 * rate // 1000, 1024
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
  frequency = np.arange(size // 2 + 1) * rate / size
  mel = 1127 * np.log(1 + frequency / 700)
  ends = 1127 * np.log(1 + np.array([125, 0.475 * rate]) / 700)
  width = (ends[1] - ends[0]) / (bins + 1)
  features = []
  for start in range(0, len(clip) - window, rate // 100):
    frame = clip[start : start + window + 1]
    frame = (frame[1:] - 0.97 * frame[:-1]) * hann
    magnitude = np.abs(np.fft.rfft(frame, size))
    row = []
    for i in range(bins):
      distance = np.abs(mel - (ends[0] + (i + 1) * width)) / width
      row.append(magnitude @ np.maximum(0, 1 - distance))
    features.append(np.log(np.maximum(row, 1.0)))
  return np.stack(features)


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1] if len(sys.argv) > 1 else str(here / "log_mel.npz"))
