"""A run's model at work, as a picture: of images, of texts, of speech."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.api.image_plotting import plot_classes, plot_puzzles, plot_reconstructions
from mdm.api.images import ImageSample
from mdm.api.model import Model, load
from mdm.api.reading import read_named
from mdm.api.recall_plotting import plot_recall
from mdm.api.speech_plotting import plot_speech
from mdm.api.words import ImageLike
from mdm.api.writing import Sample
from mdm.evaluation.puzzles import has_puzzles
from mdm.evaluation.verbs import has_verb
from mdm.methods.image.base import ImageMethod
from mdm.methods.speech.base import SpeechMethod
from mdm.methods.text.recall import Recall
from mdm.training.build import build_section


def plot(
  run: str | Path,
  images: Sequence[Any],
  out: str | Path,
  *,
  count: int | None = None,
  **settings: Any,
) -> None:
  """Draws what a model makes of images or of speech, or how images or texts appear.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    images: what is read, filled in or named, or recordings (see `Model.transcribe`);
      if empty, for readers the first `count` of the run's test split, for models of
      speech of its validation split, else `count` spread over that.
    out: the picture's path; what is written or drawn moves in a .gif file.
    count: how many test images (6), images to fill in or put together (8) or name
      (12), clips (3), texts (1), images to draw or questions to answer (4).
    **settings: as for `Model.predict`, `Model.sample_images`, or `Model.sample` with
      `prompt` or `template`; seed and split of images to fill in or name; fields of
      `speech_plotting.ShownClips`.

  Raises:
    ValueError: a setting of the other kind of model; a file that cannot be written.
  """
  model = load(run)
  if isinstance(model.method, SpeechMethod):
    plot_speech(model, images, out, 3 if count is None else count, settings)
    return
  if has_verb(model.method, "predict"):
    _plot_readings(model, images, out, 6 if count is None else count, settings)
    return
  if has_verb(model.method, "reconstruct"):
    plot_reconstructions(model, images, out, 8 if count is None else count, settings)
    return
  if has_verb(model.method, "classify"):
    plot_classes(model, images, out, 12 if count is None else count, settings)
    return
  if has_puzzles(model.method):
    plot_puzzles(model, images, out, 8 if count is None else count, settings)
    return
  if isinstance(model.method, ImageMethod):
    raise ValueError(
      f"{type(model.method).__name__} neither fills in nor names images, so there is "
      "nothing to draw; measure its features with `mdm eval`."
    )
  if images:
    raise ValueError(f"{run} writes and reads no images; leave them out.")
  if isinstance(model.method, Recall):
    plot_recall(model, out, 4 if count is None else count, settings)
    return
  if model.draws_images:
    _plot_drawing(model, out, 4 if count is None else count, settings)
    return
  _plot_writing(model, out, 1 if count is None else count, settings)


def plot_masks(out: str | Path, **settings: Any) -> list[str]:
  """Draws a sheet of every mask the package has, and returns their names.

  Args:
    out: the picture's path.
    **settings: as for `evaluation.mask_examples.MaskSheet`: seed, count, rows, columns
      and ratio.

  Raises:
    ValueError: an unknown setting, or one out of range; a file that cannot be written.
  """
  from mdm.evaluation.mask_examples import MaskSheet
  from mdm.evaluation.mask_plots import save_mask_plot

  sheet = build_section(MaskSheet, settings, "masks")
  return [example.name for example in save_mask_plot(out, sheet)]


def sample_images(
  run: str | Path, out: str | Path, **settings: Any
) -> list[ImageSample]:
  """Draws images with a run's model and writes them as one picture, a grid.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    out: the picture's path.
    **settings: as for `Model.sample_images`: num, sampler, steps, seed ...

  Raises:
    ValueError: as `Model.sample_images`; a file that cannot be written.
  """
  from mdm.evaluation.image_plots import check_picture, save_grid

  check_picture(out)
  found = load(run).sample_images(**settings)
  save_grid([sample.pixels for sample in found], out)
  return found


def _plot_drawing(
  model: Model, out: str | Path, count: int, settings: Mapping[str, Any]
) -> None:
  """A picture or film of images appearing."""
  from mdm.evaluation.image_plots import check_picture, save_image_plot

  check_picture(out)
  given = {"num": count, "keeps_history": True, **settings}
  stories = []
  for sample in model.sample_images(**given):
    hidden = np.full_like(sample.pixels, 255, np.int32)[None] + 1
    stories.append(np.concatenate([hidden, sample.canvases, sample.pixels[None]]))
  save_image_plot(stories, out)


def _plot_readings(
  model: Model,
  images: Sequence[ImageLike],
  out: str | Path,
  count: int,
  settings: Mapping[str, Any],
) -> None:
  """A picture of images being read."""
  from mdm.evaluation.plots import Story, draw_denoising

  stories = []
  for image, reading in read_named(model, images, count, settings):
    title = f"{reading.source}: {reading.text}  ({reading.confidence:.2f})"
    title += "" if reading.truth is None else f"   truth: {reading.truth}"
    stories.append(Story(model.pixels(image), reading.steps, title))
  try:
    draw_denoising(stories).save(out)
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(f"{out} cannot be written ({error}); name a .png file.") from None


def _plot_writing(
  model: Model, out: str | Path, count: int, settings: Mapping[str, Any]
) -> None:
  """A picture or film of texts being written."""
  from mdm.evaluation.text_plots import TextStory, save_text_plot

  given = {"num": count, "keeps_history": True, **settings}
  prompt, template = given.pop("prompt", None), given.pop("template", None)
  if template is not None:
    samples = model.infill(template, **given)
  else:
    samples = model.sample(prompt, **given)
  stories = [
    TextStory(
      _passes(model, sample),
      sample.given,
      f"{given.get('sampler', 'ancestral')}, {sample.calls} network passes",
    )
    for sample in samples
  ]
  save_text_plot(stories, out)


def _passes(model: Model, sample: Sample) -> list[list[str]]:
  """The text at each position before the first pass, after each, and at the end."""
  from mdm.evaluation.text_plots import END

  mask_id = getattr(model.method, "mask_id")  # noqa: B009  of all that can sample
  names = {mask_id: ""}
  if model.tokenizer.eos_id is not None:
    names[model.tokenizer.eos_id] = END
  start = np.where(sample.given, sample.tokens, mask_id).tolist()
  rows = [start, *sample.canvases]
  if rows[-1] != sample.tokens:
    rows.append(sample.tokens)
  for token in {token for row in rows for token in row}:
    names.setdefault(token, model.tokenizer.decode([token]) or " ")
  return [[names[token] for token in row] for row in rows]
