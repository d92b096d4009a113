"""Sounds of a training: one file to a step, and what it says where it cannot write."""

import io
import wave

import numpy as np
import pytest

from mdm.training.illustrated import Illustrated
from mdm.training.sounds import Sound, SoundFiles, encode_wav

TONE = Sound(np.sin(np.arange(160, dtype=np.float32) / 5), 8_000)


def _read(file):
  with wave.open(file, "rb") as wav:
    samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    return samples, wav.getframerate(), wav.getnchannels()


def test_a_sound_is_what_was_given_to_sixteen_bits():
  samples, rate, channels = _read(io.BytesIO(encode_wav(TONE)))
  assert (rate, channels) == (8_000, 1)
  np.testing.assert_allclose(samples / 32_767, TONE.samples, atol=0.51 / 32_767)


def test_what_is_too_loud_is_cut_and_not_turned_over():
  loud = Sound(np.array([2.0, -2.0], np.float32), 8_000)
  assert _read(io.BytesIO(encode_wav(loud)))[0].tolist() == [32_767, -32_767]


def test_a_sound_is_a_file_named_by_its_evaluation_and_step(tmp_path):
  writer = SoundFiles(tmp_path)
  writer.write(7, {"loss": 1.0})
  writer.draw(7, {})
  assert list(tmp_path.iterdir()) == []
  writer.play(7, {"heard/0": TONE})
  writer.close()
  [path] = tmp_path.rglob("*.*")
  assert path.relative_to(tmp_path).as_posix() == "sounds/heard/0/step_000007.wav"
  assert _read(str(path))[1] == 8_000


def test_a_sound_that_cannot_be_written_is_told_and_no_end(tmp_path):
  (tmp_path / "sounds").write_text("a file is in the way")
  with pytest.warns(UserWarning, match="goes on without it"):
    SoundFiles(tmp_path).play(7, {"heard": TONE})


def test_numbers_alone_show_nothing():
  found = Illustrated({"error": 0.5})
  assert {**found} == {"error": 0.5}
  assert found.picture is None and found.sounds == {}
