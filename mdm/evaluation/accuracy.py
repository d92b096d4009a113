"""Accuracy of a classifier on a split: how often the label comes first, or near it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Float, Int

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.verbs import check_verb
from mdm.evaluation.words import real_batches
from mdm.methods.base import Method

TOP = 5


@dataclasses.dataclass(frozen=True)
class Accuracy(Evaluation):
  """Classifies a split and counts.

  Attributes:
    split: which part of the data set.
    batch: examples classified at once.
    limit: only the first so many; 0 for all.
  """

  split: str = "validation"
  batch: int = 250
  limit: int = 0

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    check_verb(method, "classify")
    dataset = datasets.load(data, self.split)

    @jax.jit
    def classify(variables: Variables, batch: Mapping[str, Any]) -> jax.Array:
      """One batch's probabilities."""
      return cast(jax.Array, method.apply(variables, batch, method="classify"))

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers."""
      scores, labels = [], []
      for batch in real_batches(dataset, self.batch, self.limit):
        rows = batch["weight"] > 0
        found = classify(variables, {k: batch[k] for k in ("image", "index")})
        scores.append(np.asarray(found)[rows])
        labels.append(batch["label"][rows])
      return score_classes(np.concatenate(scores), np.concatenate(labels))

    return evaluate


def score_classes(
  scores: Float[np.ndarray, "b m"], labels: Int[np.ndarray, "b"]
) -> dict[str, float]:
  """How often the label has the highest score, and one of the five highest.

  `accuracy` comes with its binomial standard error, `top5` is left out where there are
  no more than five classes. Of equal scores the lower class counts as the higher.

  Raises:
    ValueError: no examples.
  """
  if not len(labels):
    raise ValueError("0 rows of scores for 0 labels; choose a split with examples.")
  order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]  # b 5
  is_right = order == labels[:, None]
  share = float(is_right[:, 0].mean())
  numbers = {
    "accuracy": share,
    "accuracy_stderr": math.sqrt(share * (1 - share) / len(labels)),
  }
  if scores.shape[1] > TOP:
    numbers["top5"] = float(is_right.any(axis=1).mean())
  return numbers | {"count": float(len(labels))}
