"""Repair: of one wrong letter among the true ones, mended by one look at the image.

The reader gets the image and a full canvas with one wrong letter, and re-reads every
position once. A reader that trusts what it is shown copies the wrong letter; one
trained with token replacement checks it against the image.

Source: the small experiment on MDiff4STR's token-replacement noise (2025).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from mdm.decoding.reader import Decoded
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.words import real_batches
from mdm.methods.base import Method


def replace_one(
  tokens: np.ndarray, valid: np.ndarray, index: np.ndarray, num_characters: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rows with one character replaced by another, and where; drawn from the index."""
  wrong, places = tokens.copy(), np.zeros(len(tokens), np.int64)
  for row, record in enumerate(index.tolist()):
    rng = np.random.default_rng(record)
    place = int(rng.integers(0, max(int(valid[row].sum()) - 1, 1)))
    shift = int(rng.integers(1, num_characters))
    wrong[row, place] = 1 + (tokens[row, place] - 1 + shift) % num_characters
    places[row] = place
  return wrong, places


@dataclasses.dataclass(frozen=True)
class RepairRate(Evaluation):
  """Share of replaced letters that one reflect pass restores, and of others it keeps.

  Attributes:
    split: which part of the data set.
    batch: images at once.
    limit: only the first so many; 0 for all.
  """

  split: str = "test"
  batch: int = 250
  limit: int = 0

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    dataset = datasets.load(data, self.split)
    num_characters = dataset.charset.num_characters

    @jax.jit
    def reread(variables: Variables, batch: Mapping[str, Any]) -> jax.Array:
      """Tokens after one look at the image."""
      return cast(Decoded, method.apply(variables, batch, method="reflect")).tokens

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers."""
      mended = kept = others = count = 0
      for batch in real_batches(dataset, self.batch, self.limit):
        wrong, places = replace_one(
          batch["tokens"], batch["valid"], batch["index"], num_characters
        )
        read = np.asarray(reread(variables, {"image": batch["image"], "tokens": wrong}))
        rows = np.flatnonzero(batch["weight"] > 0)
        at = np.zeros_like(batch["valid"])
        at[np.arange(len(places)), places] = True
        right = read == batch["tokens"]
        rest = batch["valid"] & ~at
        mended += int(right[at][rows].sum())
        kept += int((right & rest)[rows].sum())
        others += int(rest[rows].sum())
        count += len(rows)
      return {"rate": mended / count, "kept": kept / others, "count": float(count)}

    return evaluate
