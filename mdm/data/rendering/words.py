"""English words from a packaged list, and a split by hash that holds words out.

Whether a word is held out depends on the seed and the word alone, so it stays so when
the list grows, shrinks or is reordered.
"""

import string
from collections.abc import Sequence

from mdm.data.held_out import is_held_out

POOL = 300_000  # how far down the frequency list to look


def load_words(
  num_words: int = 40_000, *, min_len: int = 3, max_len: int = 8
) -> tuple[str, ...]:
  """The `num_words` most frequent English words of `min_len` to `max_len` letters a-z.

  Raises:
    ValueError: an empty range of lengths, no words, or no packaged list.
  """
  if not 1 <= min_len <= max_len:
    raise ValueError(
      f"data.min_len = {min_len} and data.max_len = {max_len} leave no word length; "
      "write 1 <= min_len <= max_len."
    )
  if num_words < 2:
    raise ValueError(
      f"data.num_words = {num_words} is too few to split; write 2 or more."
    )
  try:
    import wordfreq  # its import takes 0.2 s
  except ModuleNotFoundError as error:
    raise ValueError(
      "the word list comes from the package `wordfreq`, which is not installed; "
      "run `pip install mdm[data]`."
    ) from error
  letters = set(string.ascii_lowercase)
  words = [
    word
    for word in wordfreq.top_n_list("en", POOL)
    if min_len <= len(word) <= max_len and letters.issuperset(word)
  ]
  if not words:
    raise ValueError(
      f"no English word has {min_len} to {max_len} letters; widen data.min_len and "
      "data.max_len."
    )
  return tuple(words[:num_words])


def split_words(
  words: Sequence[str], *, share: float = 0.1, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """`(train, test)`, disjoint; each word is held out with probability `share`."""
  train = tuple(w for w in words if not is_held_out(w, share=share, seed=seed))
  test = tuple(w for w in words if is_held_out(w, share=share, seed=seed))
  return train, test
