"""Same clips: log-mel features of torchaudio, kaldi-native-fbank, librosa and lingvo.

Tolerance: 1e-4 nats where the energy lies within 60 dB of the clip's largest; below, a
float32 transform adds 1e-7 of the largest amplitude to all, so 1e-2. kaldi-native-fbank
is float32 as well, its filters included: 4e-4.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import log_mel as ours
from mdm.nn.log_mel import LogMel, log_mel

STORED = np.load(Path(__file__).parent / "log_mel.npz")
CASES = {"16k": (16_000, 80, 512), "8k": (8000, 40, 256), "8k_80": (8000, 80, 512)}
KINDS = {
  "torchaudio": "kaldi", "native": "kaldi", "librosa": "librosa", "lingvo": "google"
}  # fmt: skip
CLIPS = ("voice", "tone", "silence", "less", "window", "more")


def features_of(case, kind):
  """Our features of all clips, as one batch with padding; which frames are valid."""
  rate, bins, size = CASES[case]
  clips = [STORED[f"input/{case}/{name}"] for name in CLIPS]
  length = np.array([len(clip) for clip in clips], np.int32)
  audio = np.zeros((len(clips), length.max()), np.float32)
  for row, clip in zip(audio, clips, strict=True):
    row[: len(clip)] = clip / 32768
  fft = None if kind == "lingvo" else size
  settings = LogMel(KINDS[kind], rate, bins, fft=fft)
  # A function of its own: jit would not trace `log_mel` again for another platform.
  run = jax.jit(lambda audio, length: log_mel(audio, length, settings))
  return run(jnp.asarray(audio), jnp.asarray(length))


@pytest.mark.parametrize("product", [False, True], ids=["fft", "product"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_the_original(monkeypatch, case, kind, product):
  if product:
    monkeypatch.setattr(ours, "target_platform", lambda: "gpu")
  features, valid = features_of(case, kind)
  near = 6.9 if kind == "lingvo" else 13.8  # 60 dB of a magnitude, of a power
  for name, got, is_valid in zip(CLIPS, np.asarray(features), valid, strict=True):
    key = f"output/{case}/{name}/{kind}"
    if key not in STORED:
      assert name in ("less", "window") or (case, kind) == ("8k_80", "native")
      continue
    wanted = STORED[key]
    assert is_valid.sum() == len(wanted)
    error = np.abs(got[: len(wanted)] - wanted)
    is_near = wanted > wanted.max() - near
    assert error[is_near].max() < (4e-4 if kind == "native" else 1e-4)
    assert error.max() < 1e-2


def test_a_clip_shorter_than_a_window_has_no_frame_where_the_original_has_none():
  for kind, counts in {"torchaudio": (0, 1, 1), "lingvo": (0, 0, 1)}.items():
    _, valid = features_of("16k", kind)
    assert tuple(valid[3:].sum(axis=1)) == counts
