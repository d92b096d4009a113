"""Token ids as every tokenizer takes them."""

from collections.abc import Sequence

import numpy as np


def plain_ids(ids: Sequence[int] | np.ndarray) -> list[int]:
  """Ids as a list of whole numbers.

  Raises:
    ValueError: one is negative.
  """
  found = [int(k) for k in np.asarray(ids).reshape(-1).tolist()]
  if found and min(found) < 0:
    raise ValueError(f"token id {min(found)} is negative; ids are 0 and up.")
  return found
