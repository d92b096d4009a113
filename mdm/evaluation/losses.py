"""A method's own losses and metrics on held-out examples.

What is hidden or drawn depends on the seed and the example alone, so runs and steps are
measured on the same questions. Sums and weights are added before they are divided: the
numbers do not depend on how a split is cut into batches.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.words import real_batches
from mdm.methods.base import Mean, Method
from mdm.training.keys import stream_keys


@dataclasses.dataclass(frozen=True)
class Losses(Evaluation):
  """Calls a method on a split, as an evaluation.

  Attributes:
    split: which part of the data set.
    batch: examples at once.
    limit: only the first so many; 0 for all.
    seed: of what is drawn.
  """

  split: str = "validation"
  batch: int = 250
  limit: int = 0
  seed: int = 0

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    dataset = datasets.load(data, self.split)

    @jax.jit
    def losses(variables: Variables, batch: Mapping[str, Any]) -> dict[str, Mean]:
      """Sums of one batch."""
      keys = stream_keys(self.seed, 0)
      found = method.apply(variables, batch, train=False, rngs=keys)
      return cast(dict[str, Mean], found)

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers.

      Raises:
        ValueError: the split is empty.
      """
      sums: dict[str, Mean] = {}
      for batch in real_batches(dataset, self.batch, self.limit):
        found = losses(variables, batch)
        sums = {name: sums[name] + m if sums else m for name, m in found.items()}
      if not sums:
        raise ValueError(f"split {self.split!r} has no examples; choose another.")
      return {name: float(mean.value()) for name, mean in sums.items()}

    return evaluate
