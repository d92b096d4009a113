"""What a model of images makes of them, as a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from mdm.api.model import ImageLike, Model
from mdm.api.weights import image_shape
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
  batch = _batch(model, images, shown.split, count)
  names, labels = _classes(model, shown.split, batch, knows_labels=not images)
  ask = jax.jit(lambda v, x: model.method.apply(v, {"image": x}, method="classify"))
  sure = np.asarray(ask(model.variables, batch["image"]))  # b m
  captions = []
  for row, label in zip(sure, labels, strict=True):
    taken = int(row.argmax())
    told = f"{_name(names, taken)} {row[taken]:.2f}"
    if label is not None and label != taken:
      told += f"\nit is {_name(names, label)}"
    captions.append(told)
  picture = draw_captioned(list(batch["image"]), captions, COLUMNS)
  save_picture(out, [picture])


def _classes(
  model: Model, split: str, batch: Mapping[str, np.ndarray], *, knows_labels: bool
) -> tuple[Sequence[str], list[int | None]]:
  """Names of classes, none without the data set, and each image's class if known."""
  from mdm.data import datasets

  try:
    dataset = datasets.load(model.cfg.data.to_dict(), split)
  except ValueError:
    if knows_labels:
      raise
    return (), [None] * len(batch["image"])
  if not knows_labels:
    return dataset.classes, [None] * len(batch["image"])
  return dataset.classes, dataset.fetch(batch["index"])["label"].tolist()


def _name(names: Sequence[str], label: int) -> str:
  """The name of a class, or its number."""
  return names[label] if names else f"class {label}"


def _batch(
  model: Model, images: Sequence[ImageLike], split: str, count: int
) -> dict[str, np.ndarray]:
  """Images with numbers, given ones at the size of the run's data."""
  from mdm.data import datasets
  from mdm.evaluation.reconstructions import spread_images

  data = model.cfg.data.to_dict()
  if not images:
    return spread_images(datasets.load(data, split), count)
  settings: Any = datasets.read_settings(data)
  rows, columns, channels = image_shape(model.cfg)
  pixels = [_cut(image, (rows, columns), channels, settings) for image in images]
  return {"image": np.stack(pixels), "index": np.arange(len(pixels), dtype=np.int32)}


def _cut(
  image: ImageLike, size: tuple[int, int], channels: int, settings: Any
) -> np.ndarray:
  """An image as its data set would give it in evaluation."""
  from mdm.data import crops, images

  if isinstance(image, Image.Image):
    pixels = images.fit_picture(image, None, channels)
  elif isinstance(image, np.ndarray):
    pixels = images.fit_pixels(image, image.shape[:2], channels)
  else:
    pixels = images.read_image(image, channels=channels)
  rows, columns, _ = pixels.shape
  box = crops.Box(0, 0, rows, columns)
  if settings.crop != "stretch":
    box = crops.middle_box((rows, columns), size, settings.crop_share)
  return crops.cut_and_scale(pixels, box, size)
