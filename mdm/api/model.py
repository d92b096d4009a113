"""A trained model: its method, what it learned, how images and text pass through it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import ml_collections
import numpy as np
from PIL import Image

from mdm.decoding.reader import Decoded
from mdm.evaluation.words import make_reader
from mdm.methods.base import Method
from mdm.training import build, config
from mdm.training.checkpoint import open_checkpoints

ImageLike = str | Path | np.ndarray | Image.Image


@dataclasses.dataclass(frozen=True)
class Reading:
  """A word read from an image.

  Attributes:
    text: what was read.
    confidence: product of the characters' confidences and the end's, in [0, 1].
    characters: (character, confidence) pairs.
    steps: canvas and confidences before and after each pass and as read, for plots.
    source: where the image is from.
    truth: the word, where it is known.
  """

  text: str
  confidence: float
  characters: list[tuple[str, float]]
  steps: list[tuple[list[str], list[float]]] = dataclasses.field(repr=False)
  source: str = ""
  truth: str | None = None

  def to_json(self) -> dict[str, Any]:
    """The reading as plain types."""
    return {
      "image": self.source,
      "text": self.text,
      "truth": self.truth,
      "confidence": self.confidence,
      "characters": [{"character": c, "confidence": p} for c, p in self.characters],
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A trained method with its variables and its processor.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned (averaged parameters where the run kept them).
    step: the training step they are from.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any] = dataclasses.field(repr=False)
  step: int

  @functools.cached_property
  def charset(self) -> Any:
    """The characters that the model knows."""
    from mdm.data.charset import Charset

    return Charset(self.cfg.data.charset)

  def predict(
    self,
    images: ImageLike | Sequence[ImageLike],
    *,
    decoder: str = "lc",
    num_steps: int = 3,
    final_reflect: bool = False,
    batch: int = 64,
  ) -> list[Reading]:
    """Reads word images.

    Args:
      images: paths, arrays [y x] or [y x c] of uint8, or Pillow images; one or many.
      decoder: how the canvas is revealed: "pd", "ar", "lc", "blc", "random" or "cloze".
      num_steps: passes of the step-wise decoders.
      final_reflect: whether all characters are read once more at the end.
      batch: images read at once.

    Raises:
      ValueError: an image cannot be read, or the decoder is unknown.
    """
    many = list(images) if isinstance(images, list | tuple) else [images]
    pixels = [self.pixels(cast(ImageLike, image)) for image in many]
    read = self._reader(decoder, num_steps, final_reflect)
    readings: list[Reading] = []
    for first in range(0, len(pixels), batch):
      rows = np.stack(pixels[first : first + batch])
      short = -len(rows) % min(batch, 8)
      padded = np.pad(rows, ((0, short), (0, 0), (0, 0), (0, 0)))
      decoded = jax.device_get(read(self.variables, {"image": padded}))
      readings += [self._reading(decoded, row) for row in range(len(rows))]
    return readings

  def test_images(self, count: int) -> list[tuple[np.ndarray, str]]:
    """The first images of the run's test split, and their words."""
    from mdm.data import datasets

    dataset = datasets.load(self.cfg.data.to_dict(), "test")
    records = [dataset.record(i) for i in range(min(count, len(dataset)))]
    return [(record["image"], record["text"]) for record in records]

  def pixels(self, image: ImageLike) -> np.ndarray:
    """An image as the model sees it: uint8 [y x c] of the config's size.

    Raises:
      ValueError: it cannot be read or is empty.
    """
    from mdm.data import images

    height, width = self.cfg.data.image_size
    size, channels = (height, width), self.cfg.data.channels
    if isinstance(image, np.ndarray):
      return images.fit_pixels(image, size, channels)
    if isinstance(image, Image.Image):
      return images.fit_picture(image, size, channels)
    return images.read_image(image, image_size=size, channels=channels)

  @functools.cache  # noqa: B019  one compiled reader per setting, as long as the model
  def _reader(self, decoder: str, num_steps: int, final_reflect: bool) -> Any:
    return make_reader(
      self.method, decoder=decoder, num_steps=num_steps, final_reflect=final_reflect
    )

  def _reading(self, decoded: Decoded, row: int) -> Reading:
    tokens, confidence = decoded.tokens[row], decoded.confidence[row]
    text = self.charset.decode(tokens)
    used = confidence[: min(len(text) + 1, len(tokens))]
    passes = zip(decoded.canvases, decoded.confidences, strict=True)
    steps = [([""] * len(tokens), [0.0] * len(tokens))]
    steps += [
      ([self._symbol(t) for t in canvas[row].tolist()], sure[row].tolist())
      for canvas, sure in passes
    ]
    steps.append(([self._symbol(t) for t in tokens.tolist()], confidence.tolist()))
    return Reading(
      text=text,
      confidence=float(np.prod(used)),
      characters=[(c, float(p)) for c, p in zip(text, confidence, strict=False)],
      steps=steps,
    )

  def _symbol(self, token: int) -> str:
    if token == self.charset.eos_id:
      return "END"
    if token > self.charset.num_characters:
      return ""
    return self.charset.characters[token - 1]


def load(run: str | Path, *, step: int | None = None) -> Model:
  """The model of a run.

  Args:
    run: the run's folder.
    step: which checkpoint; None for the newest.

  Raises:
    ValueError: no such run, or its checkpoint is missing or damaged.
  """
  folder = Path(run)
  if not (folder / "config.json").is_file():
    raise ValueError(f"{folder} is no run (it has no config.json); train one first.")
  cfg = config.load(folder)
  method = build.build_method(cfg)
  checkpoints = open_checkpoints(folder, reads_only=True)
  try:
    variables, found = checkpoints.restore_variables(step)
  finally:
    checkpoints.close()
  return Model(cfg, method, variables, found)
