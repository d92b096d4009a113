"""What a model of pictures is asked for: to name them, or to fill in what is hidden."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import ml_collections
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from mdm.api.weights import image_shape
from mdm.api.windows import as_many, windows
from mdm.api.words import ImageLike
from mdm.evaluation.reconstructions import make_reconstructor, spread_images
from mdm.evaluation.verbs import check_verb
from mdm.methods.base import Method
from mdm.methods.image.mae import Mae, Reconstruction
from mdm.nn.patches import grid_of

CLASSES = "classes.json"
Pixels = UInt8[np.ndarray, "y x c"]


@dataclasses.dataclass(frozen=True)
class Naming:
  """What an image shows.

  Attributes:
    label: the likeliest class: its name, or "class 3" where names are not known.
    confidence: its probability.
    ranked: (class, probability) of the likeliest few, the likeliest first.
    source: where the image is from.
    truth: its class, where that is known.
  """

  label: str
  confidence: float
  ranked: list[tuple[str, float]] = dataclasses.field(repr=False)
  source: str = ""
  truth: str | None = None

  def to_json(self) -> dict[str, Any]:
    """The naming as plain types."""
    ranked = [{"class": name, "confidence": sure} for name, sure in self.ranked]
    return {
      "image": self.source,
      "label": self.label,
      "truth": self.truth,
      "confidence": self.confidence,
      "ranked": ranked,
    }


@dataclasses.dataclass(frozen=True)
class Filled:
  """An image, what was hidden of it, and what was put there.

  Attributes:
    image: as the model saw it.
    mask: True for hidden patches, by rows and columns of patches.
    filled: the image with predictions in place of hidden patches.
    error: mean squared error of the hidden patches against their targets.
  """

  image: Pixels
  mask: Bool[np.ndarray, "rows columns"] = dataclasses.field(repr=False)
  filled: Pixels = dataclasses.field(repr=False)
  error: float


class PictureModel:
  """The verbs of models that see pictures, for a class with these attributes.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned.
    folder: that it was loaded from, where the names of classes may be kept.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any]
  folder: Path | None

  @functools.cached_property
  def classes(self) -> tuple[str, ...]:
    """Names of the classes by their number; () where neither file nor data tells."""
    if self.folder is not None and (self.folder / CLASSES).is_file():
      return read_classes(self.folder / CLASSES, self._num_classes())
    from mdm.data import datasets

    try:
      dataset: Any = datasets.load(self.cfg.data.to_dict(), "validation")
    except ValueError:
      return ()
    return tuple(getattr(dataset, "classes", ()))

  def name_images(
    self,
    images: ImageLike | Iterable[ImageLike],
    *,
    top: int = 5,
    batch: int = 64,
  ) -> list[Naming]:
    """Says what images show, by the classes that the model learned.

    Args:
      images: paths, arrays [y x] or [y x c] of uint8, or Pillow images; one or many,
        also an iterator, of which one batch is held at a time.
      top: how many classes to rank.
      batch: images named at once.

    Raises:
      ValueError: an image cannot be read, or the model does not name images.
    """
    check_verb(self.method, "classify")
    if top < 1:
      raise ValueError(f"top = {top} ranks no class; set it to 1 or more.")
    return [
      self._naming(row, image, top)
      for given, rows in self._batches(images, batch)
      for row, image in zip(self._classify(rows), given, strict=False)
    ]

  def reconstruct(
    self,
    images: ImageLike | Iterable[ImageLike],
    *,
    seed: int = 0,
    batch: int = 16,
  ) -> list[Filled]:
    """Hides patches of images, as in training, and fills them in again.

    Args:
      images: as for `name_images`.
      seed: with an image's place among them, of what is hidden.
      batch: images filled in at once.

    Raises:
      ValueError: an image cannot be read, or the model fills nothing in.
    """
    fill_in, method = self._reconstructor(seed), cast(Mae, self.method)
    patch = int(getattr(method.encoder, "patch"))  # noqa: B009  of all such encoders
    found: list[Filled] = []
    for given, rows in self._batches(images, batch):
      index = np.arange(len(found), len(found) + len(rows), dtype=np.int32)
      filled = fill_in(self.variables, {"image": rows, "index": index})
      found += [_filled(filled, row, patch) for row in range(len(given))]
    return found

  def name_known(self, split: str, count: int) -> list[tuple[Pixels, Naming]]:
    """Images from all over a split of the run's data, named, with what they show."""
    from mdm.data import datasets

    check_verb(self.method, "classify")
    dataset: Any = datasets.load(self.cfg.data.to_dict(), split)
    found = spread_images(dataset, count)
    labels = dataset.fetch(found["index"])["label"].tolist()
    named = []
    for number, (row, label) in enumerate(
      zip(self._classify(found["image"]), labels, strict=True)
    ):
      naming = self._naming(row, f"{split} {number}", 5)
      truth = class_name(dataset.classes, label)
      named.append((found["image"][number], dataclasses.replace(naming, truth=truth)))
    return named

  def view(self, image: ImageLike) -> Pixels:
    """An image as the model's data would give it in evaluation: cut and scaled.

    Raises:
      ValueError: it cannot be read.
    """
    from mdm.data import crops, images

    settings, (height, width, channels) = self._sight
    if isinstance(image, Image.Image):
      pixels = images.fit_picture(image, None, channels)
    elif isinstance(image, np.ndarray):
      pixels = images.fit_pixels(image, image.shape[:2], channels)
    else:
      pixels = images.read_image(image, channels=channels)
    rows, columns, _ = pixels.shape
    box = crops.Box(0, 0, rows, columns)
    if settings.crop != "stretch":
      box = crops.middle_box((rows, columns), (height, width), settings.crop_share)
    return crops.cut_and_scale(pixels, box, (height, width))

  @functools.cached_property
  def _sight(self) -> tuple[Any, tuple[int, int, int]]:
    """How images are brought to the model: settings, and their shape at the end."""
    from mdm.data import datasets

    return datasets.read_settings(self.cfg.data.to_dict()), image_shape(self.cfg)

  def _batches(
    self, images: ImageLike | Iterable[ImageLike], batch: int
  ) -> Iterator[tuple[Sequence[ImageLike], UInt8[np.ndarray, "b y x c"]]]:
    """Up to `batch` images and their pixels; a short batch is filled to eight."""
    if batch < 1:
      raise ValueError(f"batch = {batch} must be 1 or more.")
    for part in windows(as_many(images), "images", size=batch):
      rows = np.stack([self.view(image) for image in part])
      short = -len(rows) % min(batch, 8)
      yield part, np.pad(rows, ((0, short), (0, 0), (0, 0), (0, 0)))

  def _naming(self, sure: np.ndarray, image: ImageLike, top: int) -> Naming:
    """One row of probabilities, with names."""
    best = np.argsort(-sure, kind="stable")[:top].tolist()
    ranked = [(class_name(self.classes, k), float(sure[k])) for k in best]
    source = str(image) if isinstance(image, str | Path) else ""
    return Naming(ranked[0][0], ranked[0][1], ranked, source)

  def _classify(self, rows: UInt8[np.ndarray, "b y x c"]) -> Float[np.ndarray, "b m"]:
    """Probability of each class."""
    return np.asarray(self._classifier(self.variables, rows))

  @functools.cached_property
  def _classifier(self) -> Any:
    """The compiled classifier."""
    method = self.method
    return jax.jit(lambda v, x: method.apply(v, {"image": x}, method="classify"))

  @functools.cache  # noqa: B019  one for each seed, as long as the model
  def _reconstructor(self, seed: int) -> Any:
    """What fills images in, compiled."""
    return make_reconstructor(self.method, seed)

  def _num_classes(self) -> int:
    """How many classes the method knows."""
    return int(getattr(self.method, "num_classes", 0))


def class_name(names: Sequence[str], label: int) -> str:
  """The name of a class, or its number."""
  return names[label] if names else f"class {label}"


def read_classes(path: Path, count: int) -> tuple[str, ...]:
  """Names of classes from a file, a JSON list in the order of their numbers.

  Raises:
    ValueError: it is no such list, or of another length.
  """
  try:
    names = json.loads(path.read_text(encoding="utf-8"))
  except ValueError:
    names = None
  if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
    raise ValueError(f"{path} is no JSON list of names; write one, or remove it.")
  if len(names) != count:
    raise ValueError(
      f"{path} names {len(names)} classes, and the model has {count}; mend it, or "
      "remove it."
    )
  return tuple(names)


def _filled(found: Reconstruction, row: int, patch: int) -> Filled:
  """One image of a batch that was filled in."""
  image, mask = np.asarray(found.image[row]), np.asarray(found.mask[row])
  rows, columns, _ = image.shape
  return Filled(
    image=_to_bytes(image),
    mask=mask.reshape(grid_of(rows, columns, patch)),
    filled=_to_bytes(found.filled[row]),
    error=float(np.asarray(found.error[row]).sum()) / max(int(mask.sum()), 1),
  )


def _to_bytes(image: Any) -> Pixels:
  """Pixels of [0, 1] as bytes."""
  return np.rint(255 * np.asarray(image)).astype(np.uint8)
