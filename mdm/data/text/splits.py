"""Which text is trained on: documents held out by hash, or the end of the corpus.

A document is in one split only, and documents of the same text are in the same. What a
corpus itself repeats in other words (the Bible's parallel passages) is not found.

A corpus is read twice at least: for a census, which keeps some 25 bytes of a document,
and for its text. It is never in memory as a whole.
"""

import array
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int8, UInt64

from mdm.data.text.corpora import Document

SPLITS = ("train", "validation", "test")
SEPARATOR = "\n\n"  # between documents


class Census(NamedTuple):
  """Of each document, in the order of the corpus.

  Attributes:
    split: the publisher's, its place in `SPLITS`; -1 for none.
    size: characters.
    digest: the first 16 bytes of the SHA-256 of seed and text.
  """

  split: Int8[np.ndarray, "d"]
  size: Int[np.ndarray, "d"]
  digest: UInt64[np.ndarray, "d 2"]


class Plan(NamedTuple):
  """Where text goes.

  Attributes:
    place: of each document its split's place in `SPLITS`.
    cuts: where "ends" are cut, by split: the first character and the last plus one of
      the joined text of all documents in place 0; empty where documents stay whole.
  """

  place: Int8[np.ndarray, "d"]
  cuts: dict[str, tuple[int, int]]

  def count(self, split: str) -> int:
    """How many documents a split has."""
    return 1 if split in self.cuts else int((self.place == SPLITS.index(split)).sum())

  def documents(self, corpus: Iterable[Document], split: str) -> Iterator[Document]:
    """The documents of a split, or its piece of the joined text in pieces."""
    if split in self.cuts:
      first, last = self.cuts[split]
      yield from _cut(self._placed(corpus, 0), split, first, last)
    else:
      yield from self._placed(corpus, SPLITS.index(split))

  def _placed(self, corpus: Iterable[Document], place: int) -> Iterator[Document]:
    number = 0
    for document in corpus:
      if self.place[number] == place:
        yield document
      number += not document.more


def take_census(corpus: Iterable[Document], *, seed: int) -> Census:
  """What there is to know for a plan, in one pass over the documents of a corpus."""
  splits, sizes, digests = array.array("b"), array.array("q"), bytearray()
  is_new, size, digest = True, 0, hashlib.sha256()
  for document in corpus:
    if is_new:
      size, digest = 0, hashlib.sha256(f"{seed}:".encode())
    size += len(document.text)
    digest.update(document.text.encode())
    is_new = not document.more
    if is_new:
      splits.append(-1 if document.split is None else SPLITS.index(document.split))
      sizes.append(size)
      digests += digest.digest()[:16]
  return Census(
    np.array(splits, np.int8),
    np.array(sizes, np.int64),
    np.frombuffer(bytes(digests), ">u8").astype(np.uint64).reshape(-1, 2),
  )


def plan_splits(census: Census, *, how: str, held_out: float) -> Plan:
  """Splits that the publisher made stay; others are drawn from the rest.

  Half of `held_out` of its characters each for validation and test, where the publisher
  left one out: whole documents in the order of their hashes with the seed ("passages"),
  or the last characters ("ends").

  Raises:
    ValueError: there are too few documents to leave one for each split.
  """
  place = np.maximum(census.split, 0)
  wanted = [s for s in SPLITS[1:] if not (census.split == SPLITS.index(s)).any()]
  if how == "ends":
    return Plan(place, _plan_ends(census.size[place == 0], wanted, held_out))
  free = np.flatnonzero(place == 0)
  digest = census.digest[free]
  order = np.lexsort((digest[:, 1], digest[:, 0]))
  is_first = np.ones(len(order), bool)
  is_first[1:] = (digest[order][1:] != digest[order][:-1]).any(axis=1)
  starts = np.flatnonzero(is_first)  # documents of one text are neighbours now
  if len(starts) <= len(wanted):
    raise ValueError(
      f"a corpus of {len(starts)} different documents leaves none for each of "
      f"{', '.join(SPLITS)}; give more text, or write data.split = 'ends'."
    )
  sizes = np.add.reduceat(census.size[free][order], starts)
  share = held_out / 2 * census.size[free].sum()
  chosen, last = np.zeros(len(starts), np.int8), len(starts)
  for turn, split in enumerate(wanted):
    size = 0
    while last > len(wanted) - turn and (size == 0 or size < share):
      last -= 1
      size += int(sizes[last])
      chosen[last] = SPLITS.index(split)
  place[free[order]] = chosen[np.cumsum(is_first) - 1]
  return Plan(place, {})


def split_documents(
  documents: Sequence[Document], *, how: str, held_out: float, seed: int
) -> dict[str, list[Document]]:
  """Documents in memory by split, each list in the order of the corpus.

  Raises:
    ValueError: as `plan_splits`.
  """
  plan = plan_splits(take_census(documents, seed=seed), how=how, held_out=held_out)
  parts = {split: list(plan.documents(documents, split)) for split in SPLITS}
  for split in plan.cuts:
    parts[split] = [Document(split, "".join(d.text for d in parts[split]))]
  return parts


def _plan_ends(
  sizes: Int[np.ndarray, "_"], wanted: Sequence[str], held_out: float
) -> dict[str, tuple[int, int]]:
  """The front of a corpus for training, its last characters for what is wanted."""
  total = int(sizes.sum()) + len(SEPARATOR) * max(len(sizes) - 1, 0)
  size = int(held_out / 2 * total)
  cuts = [total - k * size for k in range(len(wanted), -1, -1)]
  if wanted and not 0 < size < cuts[0]:
    raise ValueError(
      f"a corpus of {total} characters leaves none for each split with "
      f"data.held_out = {held_out}; give more text."
    )
  return dict(zip(("train", *wanted), zip((0, *cuts), cuts, strict=False), strict=True))


def _cut(
  documents: Iterable[Document], name: str, first: int, last: int
) -> Iterator[Document]:
  """The characters from `first` to `last` of documents joined, as pieces of one."""
  begin, separator = 0, ""
  for document in documents:
    text = separator + document.text
    piece = text[max(first - begin, 0) : max(last - begin, 0)]
    if piece:
      yield Document(name, piece, more=True)
    begin, separator = begin + len(text), "" if document.more else SEPARATOR
