"""Where numbers, pictures and sounds go: files always; TensorBoard, W&B if there."""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mdm.training.pictures import Picture, PictureFiles
from mdm.training.processes import is_first
from mdm.training.sounds import Sound, SoundFiles

FILE = "metrics.jsonl"


@runtime_checkable
class Writer(Protocol):
  """Anything that takes numbers, pictures and sounds by name at a step."""

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one row."""

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Writes pictures."""

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Writes sounds."""

  def close(self) -> None:
    """Flushes and releases."""


class JsonLines:
  """One JSON object per row, `step` first, in `metrics.jsonl`."""

  def __init__(self, workdir: Path, start: int = 0) -> None:
    """Opens the file; rows of steps after `start`, which a resume repeats, are cut."""
    self._path = Path(workdir) / FILE
    rows = [row for row in read_rows(self._path) if row["step"] <= start]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    temporary = self._path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, self._path)
    self._file = self._path.open("a")

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Appends one row and flushes it."""
    self._file.write(json.dumps({"step": step, **values}) + "\n")
    self._file.flush()

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Nothing: `PictureFiles` keeps them."""

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Nothing: `SoundFiles` keeps them."""

  def close(self) -> None:
    """Closes the file."""
    self._file.close()


class TensorBoard:
  """Scalars, images and sounds for TensorBoard, through `tensorboardX`."""

  def __init__(self, workdir: Path, start: int = 0) -> None:
    """Opens a file of events; those of steps after `start` in older ones are void."""
    from tensorboardX import SummaryWriter

    again = {"purge_step": start + 1} if start else {}
    self._writer = SummaryWriter(str(workdir), **again)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Adds one scalar per name."""
    for name, value in values.items():
      self._writer.add_scalar(name, value, step)

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Adds one image per name."""
    for name, picture in pictures.items():
      self._writer.add_image(name, picture, step, dataformats="HWC")

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Adds one clip per name."""
    for name, sound in sounds.items():
      self._writer.add_audio(name, sound.samples[:, None], step, sample_rate=sound.rate)

  def close(self) -> None:
    """Flushes and closes."""
    self._writer.close()


class WeightsAndBiases:
  """Numbers, images, sounds for W&B; used if `WANDB_PROJECT` is set and it is there."""

  def __init__(self, workdir: Path) -> None:
    import wandb

    self._run = wandb.init(dir=str(workdir), id=Path(workdir).name, resume="allow")

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Logs one row."""
    self._run.log(dict(values), step=step)

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Logs the images of a step."""
    import wandb

    images = {name: wandb.Image(picture) for name, picture in pictures.items()}
    self._run.log(images, step=step)

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Logs the sounds of a step."""
    import wandb

    clips = {name: wandb.Audio(s.samples, s.rate) for name, s in sounds.items()}
    self._run.log(clips, step=step)

  def close(self) -> None:
    """Ends the run."""
    self._run.finish()


def open_writers(workdir: Path, start: int) -> list[Writer]:
  """The writers that this machine has, files first; none but in the first process."""
  if not is_first():
    return []
  files = JsonLines(workdir, start), PictureFiles(workdir), SoundFiles(workdir)
  writers: list[Writer] = [*files]
  if importlib.util.find_spec("tensorboardX"):
    writers.append(TensorBoard(workdir, start))
  if os.environ.get("WANDB_PROJECT") and importlib.util.find_spec("wandb"):
    writers.append(WeightsAndBiases(workdir))
  return writers


def read_rows(path: Path) -> list[dict[str, Any]]:
  """The rows of a metrics file; a last line cut short by a kill is dropped."""
  rows = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      rows.append(json.loads(line))
    except ValueError:
      continue
  return rows
