"""A corpus as windows of fixed length over the text of a split.

Documents of a split are joined in order, parted by EOS where the tokenizer has one and
the settings ask for it, else by an empty line. Evaluation tiles the split: each token
comes once, and the last window may end in padding. Training takes tile k of the epoch's
order and begins anywhere within it, at an offset that seed and place in the stream
decide: windows start at every token, and an epoch still passes over all the text.

A corpus is read whole to be split: building takes about three times its size in memory.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from mdm.data.augment import uniforms
from mdm.data.text import storage
from mdm.data.text.corpora import Document, read_corpus, source_files
from mdm.data.text.settings import TextSettings
from mdm.data.text.splits import SEPARATOR, split_documents
from mdm.data.text.tokenizers import Tokenizer, make_tokenizer

AT_ONCE = 256  # documents that are encoded together


def prepare(
  settings: TextSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  del progress, num_workers  # one pass over a text
  return storage.prepare_folder(
    settings,
    lambda: source_files(settings),
    lambda folder: write_corpus(settings, folder),
    force=force,
  )


def count_examples(settings: TextSettings) -> dict[str, int]:
  """Windows of each split of a data set that is built."""
  splits = storage.read_info(storage.open_folder(settings))["splits"]
  return {s: -(-found["num_tokens"] // settings.length) for s, found in splits.items()}


def load(settings: TextSettings, split: str) -> "TextWindows":
  """The windows of a split."""
  return TextWindows(settings, split)


class TextWindows:
  """Windows of one split, numbered from 0 in the order of the text."""

  shapes = None
  is_in_memory = True  # a window is a copy out of a mapped file

  def __init__(self, settings: TextSettings, split: str) -> None:
    self.settings, self.split = settings, split
    self._folder = storage.open_folder(settings)
    storage.check_split(settings, self._folder, split)
    self._tokens = storage.open_tokens(self._folder, split)
    self.tokenizer = storage.open_tokenizer(settings)

  def __len__(self) -> int:
    return -(-len(self._tokens) // self.settings.length)

  def facts(self) -> dict[str, int]:
    """What a method must agree with."""
    return {"vocab_size": self.tokenizer.vocab_size}

  def describe(self) -> dict[str, Any]:
    """Counts and sizes for a report; characters and bytes turn bits per token."""
    return {
      "name": self.settings.name,
      "split": self.split,
      "num_examples": len(self),
      "length": self.settings.length,
      "tokenizer": self.settings.tokenizer,
      **self.facts(),
      **storage.read_info(self._folder)["splits"][self.split],
    }

  def record(self, index: int) -> dict[str, Any]:
    """Text, number of tokens and name of one window."""
    found = self.fetch(np.array([index]))
    tokens = found["tokens"][0][found["valid"][0]]
    return {
      "text": self.tokenizer.decode(tokens),
      "num_tokens": len(tokens),
      "name": f"{self._folder}:{self.split}[{index}]",
    }

  def fetch(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Tokens and valid of tiles."""
    return self._windows(indices.astype(np.int64) * self.settings.length)

  def draw(
    self, indices: Int[np.ndarray, "b"], places: Int[np.ndarray, "b"], seed: int
  ) -> dict[str, np.ndarray]:
    """Windows that begin within these tiles, for training."""
    length = self.settings.length
    shift = (uniforms(seed, places, 1)[:, 0] * length).astype(np.int64)
    last = max(0, len(self._tokens) - length)
    return self._windows(np.minimum(indices.astype(np.int64) * length + shift, last))

  def _windows(self, starts: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Windows from these tokens on; behind the end of the split is padding."""
    places = starts[:, None] + np.arange(self.settings.length)  # b n
    valid = places < len(self._tokens)
    tokens = self._tokens[np.minimum(places, len(self._tokens) - 1)].astype(np.int32)
    return {
      "tokens": np.where(valid, tokens, self.tokenizer.pad_id or 0),
      "valid": valid,
    }


def write_corpus(
  settings: TextSettings, folder: pathlib.Path, *, also: Sequence[str] = ()
) -> storage.Built:
  """Reads, splits and encodes a corpus, and writes its ids into a folder.

  Args:
    also: further texts that a tokenizer learned here must know.
  """
  parts = split_documents(
    read_corpus(settings),
    how=settings.split,
    held_out=settings.held_out,
    seed=settings.seed,
  )
  runs = {s: list(_join(d, by_document=settings.eos)) for s, d in parts.items()}

  def learned_from() -> Iterator[str]:
    """Merges come from training text; a character set must know all the text."""
    for split in ("train",) if settings.tokenizer == "bpe" else runs:
      yield from runs[split]
    yield from also

  tokenizer = make_tokenizer(
    settings.tokenizer,
    learned_from,
    vocab_size=settings.vocab_size,
    has_eos=settings.needs_eos,
  )
  ends = [tokenizer.eos_id or 0] * settings.eos
  splits = {}
  for split, texts in runs.items():
    where = f"data.name = {settings.name!r}, {split}"
    pieces = _encode(tokenizer, texts, ends, where)
    splits[split] = {
      "num_tokens": storage.write_tokens(folder, split, tokenizer.vocab_size, pieces),
      "num_documents": len(parts[split]),
      "num_characters": sum(len(tokenizer.normalize(t)) for t in texts),
      "num_bytes": sum(len(tokenizer.normalize(t).encode()) for t in texts),
    }
  return storage.Built(tokenizer, splits)


def _join(documents: Sequence[Document], *, by_document: bool) -> Iterator[str]:
  """Runs of text: one per document that EOS ends, or one of them all."""
  run: list[str] = []
  for k, document in enumerate(documents):
    if k and not document.follows(documents[k - 1]):
      if by_document:
        yield "".join(run)
        run = []
      else:
        run.append(SEPARATOR)
    run.append(document.text)
  yield "".join(run)


def _encode(
  tokenizer: Tokenizer, texts: Sequence[str], ends: Sequence[int], where: str
) -> Iterator[np.ndarray]:
  """Ids of the runs of a split, each with its end, some runs at a time."""
  try:
    for first in range(0, len(texts), AT_ONCE):
      for piece in tokenizer.encode_many(texts[first : first + AT_ONCE]):
        yield np.append(piece, ends).astype(np.int32)
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
