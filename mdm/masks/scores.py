"""Masks from scores: the lowest stay, with a count that is known before compilation.

Every way to hide whole patches gives a score to each: uniform noise, filtered noise,
predicted difficulty, similarity to a text. The `kept` lowest of a row stay visible, so
shapes are static whatever the scores are.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2021, section 3.
Differences: kept and hidden patches are listed in ascending order, not in that of their
scores (a network without order among its tokens sees no difference); ties go to the
earlier patch, where the released code leaves them open.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import uniform_rows

# How many of n patches stay, as each released code computes it in double precision:
# int(100 * (1 - 0.9)) is 9, since 1 - 0.9 lies below 0.1.
KEPT: dict[str, Callable[[int, float], int]] = {
  "mae": lambda n, ratio: int(n * (1 - ratio)),
  "videomae": lambda n, ratio: n - int(ratio * n),
  "spark": lambda n, ratio: round(n * (1 - ratio)),  # halves to the even number
  "simmim": lambda n, ratio: n - math.ceil(ratio * n),
}


class Split(NamedTuple):
  """Which patches of each row stay (k of them) and which are hidden.

  `keep` and `hide` are positions, ascending. `restore` undoes `concat(keep, hide)`:
  element i of a row in its own order is element `restore[i]` of that list.
  """

  keep: Int[Array, "b k"]
  hide: Int[Array, "b m"]
  restore: Int[Array, "b n"]
  mask: Bool[Array, "b n"]


def count_kept(n: int, ratio: float | int, *, rounding: str = "mae") -> int:
  """How many of `n` patches stay visible when the share `ratio` is hidden.

  The released codes do not round the same way, and each is kept to the last digit of
  its arithmetic:

  | rounding | patches kept | 196, 0.75 | 196, 0.9 | 49, 0.6 | 100, 0.9 |
  |---|---|---|---|---|---|
  | `mae` | int(n (1 - ratio)) | 49 | 19 | 19 | 9 |
  | `videomae` | n - int(ratio n) | 49 | 20 | 20 | 10 |
  | `spark` | round(n (1 - ratio)) | 49 | 20 | 20 | 10 |
  | `simmim` | n - ceil(ratio n) | 49 | 19 | 19 | 10 |

  Raises:
    ValueError: for a ratio outside (0, 1), an unknown rule, or a ratio that leaves no
      patch visible or none hidden.
  """
  check_choice("rounding", rounding, KEPT)
  if not 0 < ratio < 1:
    raise ValueError(
      f"mask ratio = {ratio} lies outside (0, 1); write 0.75 to hide 75% of patches."
    )
  kept = KEPT[rounding](n, ratio)
  if not 0 < kept < n:
    left = "none visible" if kept <= 0 else "none hidden"
    raise ValueError(
      f"mask ratio = {ratio} of {n} patches leaves {left} (rounding {rounding!r}); "
      f"choose a ratio nearer 0.5 or smaller patches."
    )
  return kept


def random_scores(keys: Key[Array, "b"], n: int) -> Float[Array, "b {n}"]:
  """Uniform scores: every set of patches is equally likely to stay."""
  return uniform_rows(keys, n)


def split_by_score(score: Float[Array, "b n"], kept: int) -> Split:
  """Keeps the `kept` lowest scores of each row; of equal scores the earlier ones.

  Raises:
    ValueError: unless 0 < kept <= n.
  """
  _check_kept(kept, score.shape[1])
  return split_by_mask(hide_highest(score, kept), kept)


def sets_by_score(
  score: Float[Array, "b n"], sizes: Sequence[int]
) -> tuple[Int[Array, "b _"], ...]:
  """Disjoint sets of places: those of the lowest scores, the next lowest, and so on.

  One window of noise thus gives the targets and the context of methods with several
  blocks. Each set lists its places in order.

  Raises:
    ValueError: a set has no place, or together they have more than there are.
  """
  n = score.shape[1]
  if min(sizes, default=0) < 1 or sum(sizes) > n:
    raise ValueError(
      f"sets of {tuple(sizes)} do not come out of {n} patches; each takes 1 or more, "
      "and no patch is in two."
    )
  order = jnp.argsort(score, axis=1, stable=True)  # b n
  ends = list(itertools.accumulate(sizes))
  return tuple(
    jnp.sort(order[:, end - size : end], axis=1)
    for size, end in zip(sizes, ends, strict=True)
  )


def split_by_mask(mask: Bool[Array, "b n"], kept: int) -> Split:
  """Lists what a mask keeps and hides, where every row is known to keep `kept`.

  Raises:
    ValueError: unless 0 < kept <= n, or if the mask is at hand (not traced) and some
      row keeps another number.
  """
  _check_kept(kept, mask.shape[1])
  if not isinstance(mask, jax.core.Tracer):
    shown = (~np.asarray(mask)).sum(axis=1)
    if (shown != kept).any():
      raise ValueError(
        f"rows of the mask keep {shown.min()} to {shown.max()} patches, not {kept} "
        f"each; trim the mask to one count first."
      )
  order = jnp.argsort(mask, axis=1, stable=True)  # b n: the kept, then the hidden
  hidden_before = jnp.cumsum(mask, axis=1) - mask  # b n
  kept_before = jnp.arange(mask.shape[1]) - hidden_before
  restore = jnp.where(mask, kept + hidden_before, kept_before)
  return Split(order[:, :kept], order[:, kept:], restore, mask)


def hide_highest(
  score: Float[Array, "b n"], kept: int | Int[Array, ""]
) -> Bool[Array, "b n"]:
  """True for all but the `kept` lowest scores of a row; of equal ones the later.

  `kept`, in [0, n], may be traced: the mask has no shape that depends on it.
  """
  ordered = jnp.sort(score, axis=1)
  last = jnp.take(ordered, jnp.maximum(kept - 1, 0), axis=1)[:, None]  # b 1
  lower, equal = score < last, score == last
  room = kept - lower.sum(axis=1, keepdims=True)  # b 1
  return ~(lower | (equal & (jnp.cumsum(equal, axis=1) <= room)))


def _check_kept(kept: int, n: int) -> None:
  """Checks that some of `n` patches stay."""
  if not 0 < kept <= n:
    raise ValueError(
      f"{kept} of {n} patches cannot stay visible; keep at least 1 and at most {n}."
    )
