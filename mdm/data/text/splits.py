"""Which text is trained on: documents held out by hash, or the end of the corpus.

A document is in one split only, and documents of the same text are in the same. What a
corpus itself repeats in other words (the Bible's parallel passages) is not found.
"""

import hashlib
from collections.abc import Sequence

from mdm.data.text.corpora import Document

SPLITS = ("train", "validation", "test")
SEPARATOR = "\n\n"  # between documents


def split_documents(
  documents: Sequence[Document], *, how: str, held_out: float, seed: int
) -> dict[str, list[Document]]:
  """Documents by split, each list in the order of the corpus.

  Splits that the publisher made stay; of validation and test, what he left out is drawn
  from the rest: half of `held_out` of its characters each, whole documents in the order
  of their hashes with the seed ("passages"), or the last characters ("ends").

  Raises:
    ValueError: there are too few documents to leave one for each split.
  """
  found = {s: [d for d in documents if d.split == s] for s in SPLITS}
  free = [d for d in documents if d.split in (None, "train")]
  wanted = [s for s in ("validation", "test") if not found[s]]
  if how == "ends":
    return found | _cut_ends(free, wanted, held_out)
  groups: dict[str, list[Document]] = {}
  for document in free:
    groups.setdefault(document.text, []).append(document)
  order = sorted(groups, key=lambda text: _hash(seed, text))
  if len(order) <= len(wanted):
    raise ValueError(
      f"a corpus of {len(order)} different documents leaves none for each of "
      f"{', '.join(SPLITS)}; give more text, or write data.split = 'ends'."
    )
  share = held_out / 2 * sum(len(d.text) for d in free)
  taken: dict[str, str] = {}
  for turn, split in enumerate(wanted):
    size = 0.0
    while len(order) > len(wanted) - turn and (size == 0 or size < share):
      text = order.pop()
      taken[text] = split
      size += len(text) * len(groups[text])
  for split in ("train", *wanted):
    found[split] = [d for d in free if taken.get(d.text, "train") == split]
  return found


def _cut_ends(
  free: Sequence[Document], wanted: Sequence[str], held_out: float
) -> dict[str, list[Document]]:
  """The front of a corpus for training, its last characters for what is wanted."""
  text = SEPARATOR.join(d.text for d in free)
  size = int(held_out / 2 * len(text))
  cuts = [len(text) - k * size for k in range(len(wanted), -1, -1)]
  if wanted and not 0 < size < cuts[0]:
    raise ValueError(
      f"a corpus of {len(text)} characters leaves none for each split with "
      f"data.held_out = {held_out}; give more text."
    )
  parts = {"train": text[: cuts[0]]}
  for split, first, last in zip(wanted, cuts, cuts[1:], strict=False):
    parts[split] = text[first:last]
  return {split: [Document(split, part)] for split, part in parts.items()}


def _hash(seed: int, text: str) -> bytes:
  return hashlib.sha256(f"{seed}:{text}".encode()).digest()
