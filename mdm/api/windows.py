"""Long inputs a window at a time: bounded memory, and a bar that says how far it is."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from mdm.training.progress import Progress

Item = TypeVar("Item")
WINDOW = 1024  # inputs that are read before any of them is computed, without a bar


def as_many(given: Any) -> Any:
  """Lists, tuples and iterators as they are; anything else as the only one."""
  return given if isinstance(given, list | tuple | Iterator) else [given]


def windows(
  items: Sequence[Item] | Iterator[Item], unit: str, *, size: int = WINDOW
) -> Iterator[Sequence[Item]]:
  """The items in order, up to `size` at once; with a bar where they are many.

  Of an iterator no more than a window is asked for ahead, so that what it makes need
  not all be held; it has no bar, since nobody knows how many there will be.

  Args:
    items: paths, arrays, texts.
    unit: what they are, for the bar: "images".
    size: of a window.

  Raises:
    ValueError: size is below 1.
  """
  if size < 1:
    raise ValueError(f"size = {size} must be 1 or more.")
  if isinstance(items, Iterator):
    while part := list(itertools.islice(items, size)):
      yield part
      del part  # before the next is made
    return
  progress = Progress(len(items), unit=unit, is_silent=len(items) <= max(size, WINDOW))
  try:
    for first in range(0, len(items), size):
      yield items[first : first + size]
      progress.update(min(first + size, len(items)))
  finally:
    progress.close()
