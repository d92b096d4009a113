"""What a model of images makes of them, as a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.api.model import Model
from mdm.api.pictures import Naming
from mdm.api.words import ImageLike
from mdm.training.build import build_section

COLUMNS = 4  # images beside one another


@dataclasses.dataclass(frozen=True)
class Shown:
  """Which images are drawn where none are given.

  Attributes:
    split: whose images.
    seed: of what is hidden.
  """

  split: str = "validation"
  seed: int = 0


def plot_reconstructions(
  model: Model,
  images: Sequence[ImageLike],
  out: str | Path,
  count: int,
  settings: Mapping[str, Any],
) -> None:
  """A row to each image: whole, masked, filled in, and where it errs.

  Args:
    model: of a method that can reconstruct.
    images: those to fill in; if empty, `count` of the run's held-out ones.
    out: the picture's path.
    count: how many.
    settings: fields of `Shown`.

  Raises:
    ValueError: an unknown setting, an image or a file that cannot be read or written.
  """
  from mdm.evaluation.image_plots import check_picture, save_picture
  from mdm.evaluation.reconstruction_plots import draw_reconstructions
  from mdm.evaluation.reconstructions import make_reconstructor

  check_picture(out)
  shown = build_section(Shown, settings, "plot")
  reconstruct = make_reconstructor(model.method, shown.seed)
  batch = _batch(model, images, shown.split, count)
  save_picture(out, [draw_reconstructions(reconstruct(model.variables, batch))])


def plot_puzzles(
  model: Model,
  images: Sequence[ImageLike],
  out: str | Path,
  count: int,
  settings: Mapping[str, Any],
) -> None:
  """A row to each image: whole, its context, put together, and what of that is right.

  Args:
    model: of a method that learns where patches belong.
    images: as `plot_reconstructions`, and so are out, count and settings.

  Raises:
    ValueError: as `plot_reconstructions`.
  """
  from mdm.evaluation.image_plots import check_picture, save_picture
  from mdm.evaluation.puzzles import draw_puzzles, make_puzzler

  check_picture(out)
  shown = build_section(Shown, settings, "plot")
  arrange = make_puzzler(model.method, shown.seed)
  batch = _batch(model, images, shown.split, count)
  save_picture(out, [draw_puzzles(arrange(model.variables, batch))])


def plot_classes(
  model: Model,
  images: Sequence[ImageLike],
  out: str | Path,
  count: int,
  settings: Mapping[str, Any],
) -> None:
  """Images, each above the class it is taken for and how surely.

  Below a wrong one stands what it is. Classes of given images have their names where
  the run's data set is there, else numbers.

  Args:
    model: of a method that can classify.
    images: as `plot_reconstructions`, and so are out, count and settings.

  Raises:
    ValueError: as `plot_reconstructions`.
  """
  from mdm.evaluation.image_plots import check_picture, draw_captioned, save_picture

  check_picture(out)
  shown = build_section(Shown, settings, "plot")
  if images:
    pixels = [model.view(image) for image in images]
    named = model.name_images(list(images))
  else:
    known = model.name_known(shown.split, count)
    pixels, named = [image for image, _ in known], [naming for _, naming in known]
  captions = [_caption(naming) for naming in named]
  save_picture(out, [draw_captioned(pixels, captions, COLUMNS)])


def _caption(naming: Naming) -> str:
  """The class and how sure, and below a wrong one what it is."""
  told = f"{naming.label} {naming.confidence:.2f}"
  if naming.truth in (None, naming.label):
    return told
  return f"{told}\nit is {naming.truth}"


def _batch(
  model: Model, images: Sequence[ImageLike], split: str, count: int
) -> dict[str, np.ndarray]:
  """Images with numbers, given ones at the size of the run's data."""
  from mdm.data import datasets
  from mdm.evaluation.reconstructions import spread_images

  data = model.cfg.data.to_dict()
  if not images:
    return spread_images(datasets.load(data, split), count)
  pixels = [model.view(image) for image in images]
  return {"image": np.stack(pixels), "index": np.arange(len(pixels), dtype=np.int32)}
