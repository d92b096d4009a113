"""What a model that gives vectors is asked for: of texts, or of images."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from mdm.api.windows import windows
from mdm.evaluation.verbs import check_verb
from mdm.methods.base import Method
from mdm.methods.image.base import ImageMethod

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TOKENS = 2048  # of a batch, padding included: as much as a core's cache holds well


class EncodingModel:
  """The verb of models that give vectors, for a class with these attributes.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned.
    tokenizer: of texts.
    folder: that it was loaded from.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any]
  folder: Path | None

  def encode(
    self, given: Any, *, batch: int | None = None, **settings: Any
  ) -> Float[np.ndarray, "b d"]:
    """A vector of each text or image, in their order, float32.

    Texts are cut to the config's `data.length` tokens. Those of like length are encoded
    together, so that little is padding; what is padded or encoded beside a text does
    not change its vector but for rounding.

    Args:
      given: texts, or images as for `name_images`; one or many.
      batch: encoded at once; None for 64 images, or as many texts as make
        `TOKENS` tokens.
      **settings: of the method's verb, as pool="cls" of images.

    Raises:
      ValueError: the model gives no vectors, or of neither texts nor images; a
        tokenizer with more tokens than the model knows; an image that cannot be read.
    """
    check_verb(self.method, "encode")
    if batch is not None and batch < 1:
      raise ValueError(f"batch = {batch} must be 1 or more.")
    encode = self._encoder(**settings)
    if isinstance(self.method, ImageMethod):
      found = [
        np.asarray(encode(self.variables, {"image": rows}))[: len(part)]
        for part, rows in getattr(self, "_batches")(given, batch or 64)  # noqa: B009
      ]
      return np.concatenate(found) if found else np.zeros((0, 0), np.float32)
    texts = [given] if isinstance(given, str) else list(given)
    if wrong := [text for text in texts if not isinstance(text, str)]:
      raise ValueError(
        f"{type(wrong[0]).__name__} is no text; {type(self.method).__name__} encodes "
        "texts alone."
      )
    parts = [
      self._encode_window(encode, part, batch) for part in windows(texts, "texts")
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

  def _encode_window(
    self, encode: Any, texts: Sequence[str], batch: int | None
  ) -> Float[np.ndarray, "b d"]:
    """Vectors of as many texts as are held at once."""
    rows = self._tokenize(texts)
    found = [
      (numbers, encode(self.variables, tokens))  # one batch computes while the next
      for numbers, tokens in batch_texts(rows, batch)  # is put together
    ]
    vectors: np.ndarray | None = None
    for numbers, part in found:
      ready = np.asarray(part)[: len(numbers)]
      if vectors is None:
        vectors = np.zeros((len(texts), ready.shape[1]), np.float32)
      vectors[numbers] = ready
    return cast(np.ndarray, vectors)

  def _tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids of each text, with the marks of its beginning and end.

    Raises:
      ValueError: the method knows no texts, or the tokenizer is another model's.
    """
    known = getattr(self.method, "vocab_size", None)
    if known is None:
      raise ValueError(
        f"{type(self.method).__name__} encodes neither texts nor images by name; "
        "measure its features with `mdm eval`."
      )
    tokenizer: Any = getattr(self, "tokenizer")  # noqa: B009  see the class
    if tokenizer.vocab_size > known:
      raise ValueError(
        f"the tokenizer in {self.folder} has {tokenizer.vocab_size} tokens and the "
        f"model knows {known}; put the model's own tokenizer.json there."
      )
    length = int(self.cfg.data.length)
    if hasattr(tokenizer, "encode_sentences"):
      return tokenizer.encode_sentences(texts, length)
    return [ids[:length] for ids in tokenizer.encode_many(texts)]

  @functools.cache  # noqa: B019  one for each setting, as long as the model
  def _encoder(self, **settings: Any) -> Any:
    """The compiled verb."""
    method = self.method
    return jax.jit(lambda v, x: method.apply(v, x, method="encode", **settings))


def batch_texts(
  rows: Sequence[np.ndarray], batch: int | None = None
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
  """Rows of like length as batches: their numbers, `tokens` [b n] and `valid` [b n].

  Lengths are filled up to one of `LENGTHS` and rows to a power of two, so that few
  shapes are compiled; the longest come first.

  Args:
    rows: ids [n] of each text.
    batch: rows at once; None for as many as make `TOKENS` tokens.
  """
  sizes: dict[int, list[int]] = {}
  for number in sorted(range(len(rows)), key=lambda k: (-len(rows[k]), k)):
    sizes.setdefault(padded_length(len(rows[number])), []).append(number)
  for size, numbers in sizes.items():
    most = batch or max(1, TOKENS // size)
    for first in range(0, len(numbers), most):
      chosen = numbers[first : first + most]
      count = min(most, 1 << (len(chosen) - 1).bit_length())
      tokens = np.zeros((count, size), np.int32)
      valid = np.zeros((count, size), bool)
      for row, number in enumerate(chosen):
        ids = rows[number]
        tokens[row, : len(ids)], valid[row, : len(ids)] = ids, True
      yield chosen, {"tokens": tokens, "valid": valid}


def padded_length(count: int) -> int:
  """The least of `LENGTHS` that holds a row, beyond them a multiple of 128."""
  return next((size for size in LENGTHS if size >= count), -(-count // 128) * 128)
