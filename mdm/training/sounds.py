"""Sounds that evaluations make while a model learns, as files in the run's folder."""

import io
import os
import warnings
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from mdm.training.pictures import Picture

FOLDER = "sounds"


class Sound(NamedTuple):
  """Samples in [-1, 1] and how many there are in a second."""

  samples: Float32[np.ndarray, "_"]
  rate: int


class SoundFiles:
  """A writer of sounds alone: `sounds/NAME/step_000123.wav`, 16 bits, one channel.

  One that cannot be written is told as a warning, and the training goes on.
  """

  def __init__(self, workdir: Path) -> None:
    self._folder = Path(workdir) / FOLDER

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Nothing: numbers are for other writers."""

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Nothing: `PictureFiles` keeps them."""

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Writes each sound, whole or not at all."""
    for name, sound in sounds.items():
      path = self._folder / name / f"step_{step:06d}.wav"
      temporary = path.with_suffix(".tmp")
      try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encode_wav(sound))
        os.replace(temporary, path)
      except OSError as error:
        warnings.warn(
          f"sound {path} cannot be written ({error.strerror or error}); the training "
          "goes on without it.",
          stacklevel=2,
        )

  def close(self) -> None:
    """Nothing is held open."""


def encode_wav(sound: Sound) -> bytes:
  """A sound as a WAV file of 16 bits; what is louder than 1 is cut."""
  whole = np.rint(np.clip(sound.samples, -1, 1) * 32_767).astype("<i2")
  file = io.BytesIO()
  with wave.open(file, "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(sound.rate)
    out.writeframes(whole.tobytes())
  return file.getvalue()
