"""Reading or naming images, or writing down recordings, with a run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.api.hearing import Transcription
from mdm.api.model import Model, load
from mdm.api.pictures import Naming
from mdm.api.words import ImageLike, Reading


def predict(
  run: str | Path,
  given: Sequence[Any] = (),
  *,
  count: int = 6,
  on_corrupt: str = "stop",
  on_found: Callable[[Any], None] | None = None,
  **settings: Any,
) -> list[Reading] | list[Naming] | list[Transcription]:
  """Reads words, names images, or writes down recordings, with a run's model.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    given: images, or recordings; if empty, the first `count` of the run's test split,
      and of images to name as many spread over its validation split.
    count: how many of the split.
    on_corrupt: what a recording does that cannot be heard: "stop" or "report", see
      `Model.transcribe`; an image always stops.
    on_found: called with each result in turn; for files of speech as soon as it is
      known.
    **settings: as for `Model.predict`.

  Raises:
    ValueError: a model that does none of these; else as `Model.predict`.
  """
  model = load(run)
  found: list[Any]
  if model.hears:
    settings["on_corrupt"] = on_corrupt
    if given:
      return model.predict(list(given), on_heard=on_found, **settings)
    found = transcribe_known(model, count, settings)
  elif model.names:
    known = [] if given else model.name_known("validation", count)
    found = model.predict(list(given), **settings) if given else [n for _, n in known]
  else:
    found = [reading for _, reading in read_named(model, given, count, settings)]
  if on_found is not None:
    for one in found:
      on_found(one)
  return found


def transcribe_known(
  model: Model, count: int, settings: Mapping[str, Any]
) -> list[Transcription]:
  """What is said in the first recordings of the test split, with the truth.

  Raises:
    ValueError: as `Model.transcribe`.
  """
  known = model.known_clips("test", count)
  found = model.predict([clip.samples for clip, _ in known], **settings)
  return [
    dataclasses.replace(one, source=clip.source, truth=truth)
    for one, (clip, truth) in zip(found, known, strict=True)
  ]


def read_named(
  model: Model, images: Sequence[ImageLike], count: int, settings: Mapping[str, Any]
) -> list[tuple[ImageLike, Reading]]:
  """Images and their readings; test images, with truth, if none are given.

  Raises:
    ValueError: a model that does not read images; else as `Model.predict`.
  """
  model.reader()
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
