"""A corpus as windows of fixed length over the text of a split.

Documents of a split are joined in order, parted by EOS where the tokenizer has one and
the settings ask for it, else by an empty line. Evaluation tiles the split: each token
comes once, and the last window may end in padding. Training takes tile k of the epoch's
order and begins anywhere within it, at an offset that seed and place in the stream
decide: windows start at every token, and an epoch still passes over all the text.

A corpus is never whole in memory: it is read once to be split, perhaps once for a
tokenizer to learn from, and once for each split to be encoded, run by run. A run is a
document that EOS ends, or else the whole split, in pieces of some `MOST` characters. A
piece ends before a single white space between letters, where byte-level BPE parts words
anyway; a tokenizer that treats the beginning of a text differently (as files may) would
do so at these few places.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mdm.data.augment import uniforms
from mdm.data.text import storage
from mdm.data.text.corpora import Document, open_corpus, source_files
from mdm.data.text.settings import TextSettings
from mdm.data.text.splits import SEPARATOR, SPLITS, plan_splits, take_census
from mdm.data.text.tokenizers import Tokenizer, make_tokenizer

AT_ONCE = 256  # documents that are encoded together
MOST = 1 << 23  # characters of a run that are encoded at once
NEAR = 1 << 16  # of them, in which a piece may end
CUTS = (re.compile(r"(?<=[A-Za-z])\s(?=[A-Za-z])"), re.compile(r"(?<=\S)\s(?=\S)"))


class Run(NamedTuple):
  """A text to encode by itself, and whether its run is over with it."""

  text: str
  is_over: bool


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
  read = open_corpus(settings)
  census = take_census(read(), seed=settings.seed)
  plan = plan_splits(census, how=settings.split, held_out=settings.held_out)

  def runs(split: str) -> Iterator[Run]:
    """The text of a split."""
    return cut_runs(plan.documents(read(), split), by_document=settings.eos)

  def learned_from() -> Iterator[str]:
    """Merges come from training text; a character set must know all the text."""
    for split in SPLITS[:1] if settings.tokenizer == "bpe" else SPLITS:
      yield from (run.text for run in runs(split))
    yield from also

  tokenizer = make_tokenizer(
    settings.tokenizer,
    learned_from,
    vocab_size=settings.vocab_size,
    has_eos=settings.needs_eos,
  )
  ends = [tokenizer.eos_id or 0] * settings.eos
  splits = {}
  for split in SPLITS:
    sizes = {"num_characters": 0, "num_bytes": 0}
    where = f"data.name = {settings.name!r}, {split}"
    pieces = _encode(tokenizer, runs(split), ends, where, sizes)
    count = storage.write_tokens(folder, split, tokenizer.vocab_size, pieces)
    splits[split] = {"num_tokens": count, "num_documents": plan.count(split)} | sizes
  return storage.Built(tokenizer, splits)


def cut_runs(documents: Iterable[Document], *, by_document: bool) -> Iterator[Run]:
  """Runs of text in pieces: one per document that EOS ends, or one of them all."""
  parts: list[str] = []
  size, last = 0, None
  for document in documents:
    if last is not None and not (last.more or document.follows(last)):
      if by_document:
        yield Run("".join(parts), True)
        parts, size = [], 0
      else:
        parts.append(SEPARATOR)
    parts.append(document.text)
    size, last = size + len(document.text), document
    if size > MOST:
      text = "".join(parts)
      end = _find_cut(text)
      yield Run(text[:end], False)
      parts, size = [text[end:]], len(text) - end
  yield Run("".join(parts), True)


def _find_cut(text: str) -> int:
  """The last place that parts words and no more, near the end; else the end."""
  near = max(len(text) - NEAR, 0)
  for cut in CUTS:
    if found := [match.start() for match in cut.finditer(text, near)]:
      return found[-1]
  return len(text)


def _encode(
  tokenizer: Tokenizer,
  runs: Iterable[Run],
  ends: list[int],
  where: str,
  sizes: dict[str, int],
) -> Iterator[np.ndarray]:
  """Ids of the runs of a split, each with its end; `sizes` count the text."""
  try:
    for batch in _batches(runs):
      texts = [tokenizer.normalize(run.text) for run in batch]
      sizes["num_characters"] += sum(map(len, texts))
      sizes["num_bytes"] += sum(len(text.encode()) for text in texts)
      found = tokenizer.encode_many([run.text for run in batch])
      for run, piece in zip(batch, found, strict=True):
        yield np.append(piece, ends).astype(np.int32) if run.is_over else piece
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error


def _batches(runs: Iterable[Run]) -> Iterator[list[Run]]:
  """Runs that are encoded together: up to `AT_ONCE`, of about `MOST` characters."""
  batch: list[Run] = []
  size = 0
  for run in runs:
    batch.append(run)
    size += len(run.text)
    if len(batch) == AT_ONCE or size > MOST:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch
