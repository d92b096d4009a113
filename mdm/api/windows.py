"""Long inputs a window at a time: bounded memory, and a bar that says how far it is."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from mdm.training.progress import Progress

Item = TypeVar("Item")
WINDOW = 1024  # inputs that are read before any of them is computed, without a bar


def windows(
  items: Sequence[Item], unit: str, *, size: int = WINDOW
) -> Iterator[Sequence[Item]]:
  """The items in order, up to `size` at once; with a bar where they are many.

  Args:
    items: paths, arrays, texts.
    unit: what they are, for the bar: "images".
    size: of a window.

  Raises:
    ValueError: size is below 1.
  """
  if size < 1:
    raise ValueError(f"size = {size} must be 1 or more.")
  progress = Progress(len(items), unit=unit, is_silent=len(items) <= max(size, WINDOW))
  try:
    for first in range(0, len(items), size):
      yield items[first : first + size]
      progress.update(min(first + size, len(items)))
  finally:
    progress.close()
