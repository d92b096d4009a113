"""Reading images with a run, as text or as a picture of every pass."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.api.model import ImageLike, Model, Reading, load


def predict(
  run: str | Path, images: Sequence[ImageLike] = (), *, count: int = 6, **settings: Any
) -> list[Reading]:
  """Reads images with a run's model.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    images: what to read; if empty, the first `count` of the run's test split.
    count: how many test images.
    **settings: as for `Model.predict`.
  """
  model = load(run)
  return [reading for _, reading in _read(model, images, count, settings)]


def plot(
  run: str | Path,
  images: Sequence[ImageLike],
  out: str | Path,
  *,
  count: int = 6,
  **settings: Any,
) -> None:
  """Draws how images are read, pass by pass, into a PNG file.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    images: what to read; if empty, the first `count` of the run's test split.
    out: the picture's path.
    count: how many test images.
    **settings: as for `Model.predict`.
  """
  from mdm.evaluation.plots import Story, draw_denoising

  model = load(run)
  stories = []
  for image, reading in _read(model, images, count, settings):
    title = f"{reading.source}: {reading.text}  ({reading.confidence:.2f})"
    title += "" if reading.truth is None else f"   truth: {reading.truth}"
    stories.append(Story(model.pixels(image), reading.steps, title))
  try:
    draw_denoising(stories).save(out)
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(f"{out} cannot be written ({error}); name a .png file.") from None


def _read(
  model: Model, images: Sequence[ImageLike], count: int, settings: Mapping[str, Any]
) -> list[tuple[ImageLike, Reading]]:
  """Images and their readings; test images, with truth, if none are given."""
  named: list[tuple[ImageLike, str, str | None]]
  if images:
    named = [
      (i, str(i) if isinstance(i, str | Path) else "image", None) for i in images
    ]
  else:
    named = [(i, f"test {k}", t) for k, (i, t) in enumerate(model.test_images(count))]
  readings = model.predict([image for image, _, _ in named], **settings)
  return [
    (image, dataclasses.replace(reading, source=source, truth=truth))
    for (image, source, truth), reading in zip(named, readings, strict=True)
  ]
