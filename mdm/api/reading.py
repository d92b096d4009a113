"""Reading images with a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.api.model import ImageLike, Model, Reading, load
from mdm.evaluation.verbs import check_verb


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
  return [reading for _, reading in read_named(model, images, count, settings)]


def read_named(
  model: Model, images: Sequence[ImageLike], count: int, settings: Mapping[str, Any]
) -> list[tuple[ImageLike, Reading]]:
  """Images and their readings; test images, with truth, if none are given.

  Raises:
    ValueError: a model that does not read images; else as `Model.predict`.
  """
  check_verb(model.method, "predict")
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
