"""What a model of words is asked for: to read pictures of them."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from PIL import Image

from mdm.api.windows import as_many, windows
from mdm.decoding.reader import Decoded
from mdm.evaluation.verbs import check_verb
from mdm.evaluation.words import make_reader
from mdm.methods.base import Method

LEAST_CONTRAST = 8  # of 255 levels
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

  def emptied(self) -> "Reading":
    """The same with no text, for a picture that holds none."""
    return dataclasses.replace(self, text="", confidence=1.0, characters=[])

  def to_json(self) -> dict[str, Any]:
    """The reading as plain types."""
    return {
      "image": self.source,
      "text": self.text,
      "truth": self.truth,
      "confidence": self.confidence,
      "characters": [{"character": c, "confidence": p} for c, p in self.characters],
    }


class WordModel:
  """The verbs of models that read words, for a class with these attributes.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any]

  @functools.cached_property
  def charset(self) -> Any:
    """The characters that the model knows."""
    from mdm.data.charset import Charset

    return Charset(self.cfg.data.charset)

  def read_words(
    self,
    images: ImageLike | Iterable[ImageLike],
    *,
    decoder: str = "lc",
    num_steps: int = 3,
    final_reflect: bool = False,
    batch: int = 64,
  ) -> list[Reading]:
    """Reads word images.

    Args:
      images: paths, arrays [y x] or [y x c] of uint8, or Pillow images; one or many,
        also an iterator, of which 1024 are held at a time.
      decoder: how the canvas is revealed: "pd", "ar", "lc", "blc", "random" or "cloze".
      num_steps: passes of the step-wise decoders.
      final_reflect: whether all characters are read once more at the end.
      batch: images read at once.

    Raises:
      ValueError: an image cannot be read, the decoder is unknown, or the model does not
        read images.
    """
    check_verb(self.method, "predict")
    read = self._reader(decoder, num_steps, final_reflect)
    readings: list[Reading] = []
    for part in windows(as_many(images), "images"):
      readings += self._read_window(read, part, batch)
    return readings

  def _read_window(
    self, read: Any, images: Sequence[ImageLike], batch: int
  ) -> list[Reading]:
    """Readings of as many images as are held at once."""
    pixels = [self.pixels(image) for image in images]
    readings: dict[int, Reading] = {}
    for numbers, rows in make_batches(pixels, batch):
      decoded = jax.device_get(read(self.variables, {"image": rows}))
      for row, number in enumerate(numbers):
        found = self._reading(decoded, row)
        readings[number] = found if has_ink(pixels[number]) else found.emptied()
    return [readings[number] for number in range(len(pixels))]

  def read(
    self, images: Sequence[ImageLike], *, batch: int = 64, **settings: Any
  ) -> list[str]:
    """The texts alone, as `read_words` reads them, without what led to them; quicker.

    Args:
      images: as for `read_words`.
      batch: images read at once.
      settings: decoder, num_steps and final_reflect of `read_words`.
    """
    read = self._tokens_reader(**settings)
    return [
      text
      for part in windows(images, "images")
      for text in self._read_texts(read, part, batch)
    ]

  def _read_texts(
    self, read: Any, images: Sequence[ImageLike], batch: int
  ) -> list[str]:
    """Texts of as many images as are held at once."""
    pixels = [self.pixels(image) for image in images]
    found = [
      (numbers, read(self.variables, {"image": rows}))  # one batch computes while the
      for numbers, rows in make_batches(pixels, batch)  # next is stacked
    ]
    texts: dict[int, str] = {}
    for numbers, tokens in found:
      decoded = np.asarray(tokens)
      texts |= {n: self.charset.decode(decoded[row]) for row, n in enumerate(numbers)}
    return [texts[n] if has_ink(pixels[n]) else "" for n in range(len(pixels))]

  def test_images(self, count: int) -> list[tuple[np.ndarray, str]]:
    """The first images of the run's test split, and their words."""
    from mdm.data import datasets

    dataset = datasets.load(self.cfg.data.to_dict(), "test")
    records = [dataset.record(i) for i in range(min(count, len(dataset)))]
    return [(record["image"], record["text"]) for record in records]

  def pixels(self, image: ImageLike) -> np.ndarray:
    """An image as the model sees it: uint8 [y x c], stretched to the config's size.

    Where the config has sizes by aspect ratio, the image's own ratio chooses.

    Raises:
      ValueError: it cannot be read or is empty.
    """
    from mdm.data import images

    data = self.cfg.data
    channels = data.get("channels", 1)
    if isinstance(image, Image.Image):
      image = images.fit_picture(image, None, channels)
    elif not isinstance(image, np.ndarray):
      image = images.read_image(image, channels=channels)
    height, width = data.image_size
    if data.get("buckets") and min(image.shape[:2], default=0) > 0:
      height, width = images.bucket_size(image.shape[1], image.shape[0])
    return images.fit_pixels(image, (height, width), channels)

  @functools.cache  # noqa: B019  one compiled reader per setting, as long as the model
  def _reader(self, decoder: str, num_steps: int, final_reflect: bool) -> Any:
    return make_reader(
      self.method, decoder=decoder, num_steps=num_steps, final_reflect=final_reflect
    )

  @functools.cache  # noqa: B019
  def _tokens_reader(self, **settings: Any) -> Any:
    """The same reader giving tokens alone, so that nothing else is computed."""
    read = make_reader(self.method, **settings)
    return jax.jit(lambda variables, batch: read(variables, batch).tokens)

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


def make_batches(
  pixels: Sequence[np.ndarray], batch: int
) -> Iterator[tuple[list[int], np.ndarray]]:
  """Images of one shape at a time, up to `batch`: their numbers, and them stacked.

  Short batches are filled with zeros to a multiple of eight, so that few shapes are
  compiled.
  """
  shapes: dict[tuple[int, ...], list[int]] = {}
  for number, image in enumerate(pixels):
    shapes.setdefault(image.shape, []).append(number)
  for numbers in shapes.values():
    for first in range(0, len(numbers), batch):
      chosen = numbers[first : first + batch]
      rows = np.stack([pixels[number] for number in chosen])
      short = -len(rows) % min(batch, 8)
      yield chosen, np.pad(rows, ((0, short), (0, 0), (0, 0), (0, 0)))


def has_ink(pixels: np.ndarray) -> bool:
  """Whether anything could be written there: an even surface holds no word."""
  return int(pixels.max()) - int(pixels.min()) >= LEAST_CONTRAST
