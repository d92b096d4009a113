"""Pictures that evaluations make while a model learns, as files in the run's folder."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

FOLDER = "pictures"
Picture = UInt8[np.ndarray, "y x 3"]


class PictureFiles:
  """A writer of pictures alone: `pictures/NAME/step_000123.png`.

  One that cannot be written is told as a warning, and the training goes on. A resumed
  run writes those of the steps that it repeats anew.
  """

  def __init__(self, workdir: Path) -> None:
    self._folder = Path(workdir) / FOLDER

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Nothing: numbers are for other writers."""

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Writes each picture, whole or not at all."""
    for name, picture in pictures.items():
      path = self._folder / name / f"step_{step:06d}.png"
      temporary = path.with_suffix(".tmp")
      try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(temporary, format="PNG")
        os.replace(temporary, path)
      except OSError as error:
        warnings.warn(
          f"picture {path} cannot be written ({error.strerror or error}); the training "
          "goes on without it.",
          stacklevel=2,
        )

  def play(self, step: int, sounds: Mapping[str, Any]) -> None:
    """Nothing: `SoundFiles` keeps them."""

  def close(self) -> None:
    """Nothing is held open."""
