"""Prompts with answers, for conditional fine-tuning.

A file holds one pair a line: `.jsonl` with {"prompt": ..., "answer": ...}, or `.tsv`
with prompt, tab, answer. Both are encoded as they are written, one behind the other
(end the prompt with a space where there should be one), then EOS. `prompt` marks what
is given. The rest of the canvas holds EOS that belongs to the answer, so that a model
learns to end, or padding. Pairs that do not fit the canvas are left out and counted.

Files named train, valid or test keep that split; else pairs are held out by the hash of
the prompt, so that no prompt is in two splits.

Source: Large Language Diffusion Models, 2025, section 2.3 and guideline for SFT.
Differences: every answer is filled up to `data.length`, not to the longest of a batch,
so that shapes are constant.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mdm.data.text import storage
from mdm.data.text.corpora import PUBLISHED, Document, list_files, read_utf8
from mdm.data.text.settings import PairSettings
from mdm.data.text.splits import split_documents
from mdm.data.text.tokenizers import make_tokenizer

SUFFIXES = (".jsonl", ".tsv")


class Pair(NamedTuple):
  """A prompt, its answer and where it was written."""

  prompt: str
  answer: str
  where: str


def prepare(
  settings: PairSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  del progress, num_workers  # one pass over a text
  return storage.prepare_folder(
    settings,
    lambda: list_files(settings.path, SUFFIXES),
    lambda folder: _make(settings, folder),
    force=force,
  )


def count_examples(settings: PairSettings) -> dict[str, int]:
  """Pairs of each split of a data set that is built, those that do not fit included."""
  splits = storage.read_info(storage.open_folder(settings))["splits"]
  return {split: found["num_pairs"] for split, found in splits.items()}


def load(settings: PairSettings, split: str) -> "Pairs":
  """The pairs of a split."""
  return Pairs(settings, split)


class Pairs:
  """Pairs of one split that fit the canvas, numbered from 0; `num_dropped` do not."""

  shapes = None
  is_in_memory = True  # a row is a copy out of a mapped file

  def __init__(self, settings: PairSettings, split: str) -> None:
    self.settings, self.split = settings, split
    self._folder = storage.open_folder(settings)
    storage.check_split(settings, self._folder, split)
    self._tokens = storage.open_tokens(self._folder, split)
    bounds = np.load(self._folder / f"{split}.bounds.npy")
    fits = bounds[:, 2] - bounds[:, 0] <= settings.length
    if not fits.any():
      longest = int((bounds[:, 2] - bounds[:, 0]).min())
      raise ValueError(
        f"data.length = {settings.length} holds no pair of split {split!r}; the "
        f"shortest has {longest} tokens, EOS included; set data.length higher."
      )
    self._bounds, self.num_dropped = bounds[fits], int((~fits).sum())
    self.tokenizer = storage.open_tokenizer(settings)

  def __len__(self) -> int:
    return len(self._bounds)

  def facts(self) -> dict[str, int]:
    """What a method must agree with."""
    return {"vocab_size": self.tokenizer.vocab_size}

  def describe(self) -> dict[str, Any]:
    """Counts and sizes for a report."""
    return {
      "name": self.settings.name,
      "split": self.split,
      "num_examples": len(self),
      "num_dropped": self.num_dropped,
      "length": self.settings.length,
      "tokenizer": self.settings.tokenizer,
      **self.facts(),
    }

  def record(self, index: int) -> dict[str, Any]:
    """Prompt, answer, both as text, number of tokens and name of one pair."""
    first, middle, last = self._bounds[index].tolist()
    prompt = self.tokenizer.decode(self._tokens[first:middle])
    answer = self.tokenizer.decode(self._tokens[middle:last])
    return {
      "text": prompt + answer,
      "prompt": prompt,
      "answer": answer,
      "num_tokens": last - first,
      "name": f"{self._folder}:{self.split}[{index}]",
    }

  def fetch(self, indices: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
    """Tokens, valid and, unless it is learned too, prompt of pairs."""
    first, middle, last = self._bounds[indices].T[:, :, None]  # b 1 each
    places = first + np.arange(self.settings.length)  # b n
    is_text = places < last
    found = self._tokens[np.minimum(places, len(self._tokens) - 1)].astype(np.int32)
    eos, pad = self.tokenizer.eos_id, self.tokenizer.pad_id
    fills = self.settings.fills_with_eos
    rest = eos if fills or pad is None else pad
    given = {} if self.settings.learns_prompt else {"prompt": places < middle}
    return {
      "tokens": np.where(is_text, found, np.int32(rest or 0)),
      **given,
      "valid": is_text | fills,
    }

  def draw(
    self, indices: Int[np.ndarray, "b"], places: Int[np.ndarray, "b"], seed: int
  ) -> dict[str, np.ndarray]:
    """The same for training: pairs are not changed."""
    del places, seed
    return self.fetch(indices)


def read_pairs(path: pathlib.Path) -> Iterator[Pair]:
  """The pairs of a file.

  Raises:
    ValueError: naming the first line that holds no pair.
  """
  for number, line in enumerate(read_utf8(path).split("\n"), 1):
    if not line.strip():
      continue
    where = f"{path}, line {number}"
    if path.suffix.lower() == ".tsv":
      parts = line.split("\t")
      rule = "write 'PROMPT<tab>ANSWER'"
    else:
      rule = 'write {"prompt": "...", "answer": "..."}'
      try:
        content = json.loads(line)
        parts = [content["prompt"], content["answer"]]
      except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where} is no pair ({error!r}); {rule}.") from error
    if len(parts) != 2 or not all(isinstance(p, str) and p for p in parts):
      raise ValueError(f"{where} is not a prompt and an answer, both texts; {rule}.")
    yield Pair(parts[0], parts[1], where)


def _make(settings: PairSettings, folder: pathlib.Path) -> storage.Built:
  """Reads, splits and encodes the pairs of files."""
  found = [
    (pair, PUBLISHED.get(path.stem))
    for path in list_files(settings.path, SUFFIXES)
    for pair in read_pairs(path)
  ]
  if not found:
    raise ValueError(f"data.path = {settings.path!r} holds no pair; add some.")
  return write_pairs(settings, folder, found)


def write_pairs(
  settings: PairSettings,
  folder: pathlib.Path,
  found: Sequence[tuple[Pair, str | None]],
) -> storage.Built:
  """Splits and encodes pairs, and writes them into a folder.

  Args:
    found: each pair, of a `where` of its own, and its publisher's split.
  """
  pairs = {pair.where: pair for pair, _ in found}
  documents = [Document(pair.where, pair.prompt, split) for pair, split in found]
  parts = {
    split: [pairs[d.name] for d in found]
    for split, found in split_documents(
      documents, how="passages", held_out=settings.held_out, seed=settings.seed
    ).items()
  }

  def learned_from() -> Iterator[str]:
    """Merges come from training pairs; a character set must know all of them."""
    for split in ("train",) if settings.tokenizer == "bpe" else parts:
      for pair in parts[split]:
        yield from (pair.prompt, pair.answer)

  tokenizer = make_tokenizer(
    settings.tokenizer, learned_from, vocab_size=settings.vocab_size, has_eos=True
  )
  for split, rows in parts.items():
    tokens, bounds = _encode(tokenizer, rows)
    storage.write_tokens(folder, split, tokenizer.vocab_size, [tokens])
    np.save(folder / f"{split}.bounds.npy", bounds)
  splits = {split: {"num_pairs": len(rows)} for split, rows in parts.items()}
  return storage.Built(tokenizer, splits)


def _encode(tokenizer: Any, rows: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
  """All ids of a split, and of each pair the first, its answer's first, and the end."""
  ids: list[int] = []
  bounds = np.empty((len(rows), 3), np.int64)
  for row, pair in enumerate(rows):
    try:
      prompt, answer = (tokenizer.encode(text) for text in (pair.prompt, pair.answer))
    except ValueError as error:
      raise ValueError(f"{pair.where}: {error}") from error
    first = len(ids)
    ids += [*prompt, *answer, tokenizer.eos_id]
    bounds[row] = first, first + len(prompt), len(ids)
  return np.array(ids, np.int64), bounds
