"""Recall: how many answers are right, at which length and depth, and at what cost.

  accuracy   mean over examples of the share of an example's answers that are right
  exact      share of examples whose answers are all right (an answer of several tokens
             is then what greedy decoding would write)

Both with binomial or sample standard errors. Numbers at another length than the data's
end in "_2x", "_4x"; those of a class of examples in its name ("exact_4x_depth_50").
Beside them stands what a mixer reads and keeps, counted from the network's `mixer`
(mixer_costs.py): accuracies mean something only for equal keys per query.

Source: *Zoology: Measuring and Improving Recall in Efficient Language Models*, Arora et
al., 2023, section 4 (the metric); needles after *Needle in a Haystack*, Kamradt, 2023.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.mixer_costs import cache_bytes, keys_per_query
from mdm.evaluation.verbs import check_verb
from mdm.evaluation.words import real_batches
from mdm.methods.base import Method
from mdm.nn.mixers.layers import layer_mixer
from mdm.training.build import fields_of

UNREAD = ("index", "weight", "label")  # entries of a batch that no method answers from
Answerer = Callable[[Variables, Mapping[str, Any]], tuple[jax.Array, jax.Array]]


class Answered(NamedTuple):
  """Examples as they were answered: share right, all right, and their class or 0."""

  share: Float[np.ndarray, "b"]
  exact: Bool[np.ndarray, "b"]
  label: Int[np.ndarray, "b"]


@dataclasses.dataclass(frozen=True)
class RecallAccuracy(Evaluation):
  """Asks the questions of a split, also of longer sequences than the data's.

  Attributes:
    split: which part of the data set.
    batch: examples answered at once.
    limit: only the first so many; 0 for all.
    factors: multiples of `data.length` to measure at.
  """

  split: str = "test"
  batch: int = 100
  limit: int = 0
  factors: tuple[int, ...] = (1,)

  def __post_init__(self) -> None:
    """Raises ValueError for no factor, or one below 1."""
    if not self.factors or min(self.factors) < 1:
      raise ValueError(
        f"factors = {list(self.factors)} must be multiples of data.length, 1 or more; "
        "write [1, 2, 4]."
      )

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    answer = make_answerer(method)
    length = datasets.load(data, self.split).settings.length
    longer = {k: {**data, "length": k * length} for k in self.factors}
    asked = {k: datasets.load(given, self.split) for k, given in longer.items()}

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers at every length."""
      numbers: dict[str, float] = {}
      for factor, dataset in asked.items():
        batches = real_batches(dataset, self.batch, self.limit)
        parts = [answer_rows(answer, variables, batch) for batch in batches]
        found = Answered(*(np.concatenate(x) for x in zip(*parts, strict=True)))
        suffix = "" if factor == 1 else f"_{factor}x"
        classes = getattr(dataset, "classes", ())
        numbers |= summarize(found, suffix, classes)
        costs = measure_costs(method, factor * length)
        numbers |= {name + suffix: value for name, value in costs.items()}
      return numbers

    return evaluate


def make_answerer(method: Method) -> Answerer:
  """A compiled function from variables and a batch to what is right, and was asked.

  Raises:
    ValueError: the method cannot answer.
  """
  check_verb(method, "answer")

  @jax.jit
  def answer(
    variables: Variables, batch: Mapping[str, Any]
  ) -> tuple[jax.Array, jax.Array]:
    """One batch."""
    found = method.apply(variables, batch, method="answer")
    return cast(tuple[jax.Array, jax.Array], found)

  return answer


def answer_rows(
  answer: Answerer, variables: Variables, batch: Mapping[str, np.ndarray]
) -> Answered:
  """The rows of a batch that have weight."""
  rows = {name: x for name, x in batch.items() if name not in UNREAD}
  is_right, is_asked = jax.device_get(answer(variables, rows))
  real = batch["weight"] > 0
  is_right, is_asked = is_right[real], is_asked[real]
  label = batch.get("label", np.zeros(len(real), np.int32))[real]
  share = (is_right & is_asked).sum(axis=1) / np.maximum(is_asked.sum(axis=1), 1)
  return Answered(share, (is_right | ~is_asked).all(axis=1), label)


def summarize(
  found: Answered, suffix: str = "", classes: tuple[str, ...] = ()
) -> dict[str, float]:
  """Accuracy and exact matches of all examples, and exact matches of each class."""
  count = len(found.share)
  exact = float(found.exact.mean())
  numbers = {
    f"accuracy{suffix}": float(found.share.mean()),
    f"accuracy{suffix}_stderr": float(found.share.std()) / math.sqrt(count),
    f"exact{suffix}": exact,
    f"exact{suffix}_stderr": math.sqrt(exact * (1 - exact) / count),
  }
  for number, name in enumerate(classes):
    chosen = found.label == number
    if chosen.any():
      numbers[f"exact{suffix}_{name}"] = float(found.exact[chosen].mean())
  return numbers | {f"count{suffix}": float(count)}


def measure_costs(method: Method, length: int) -> dict[str, float]:
  """Keys per query, and bytes of a layer's cache per token, of the networks' mixer.

  Nothing where no network has a `mixer`, or one that no one knows to count.
  """
  for field in fields_of(type(method)):
    network = getattr(method, field.name)
    mixer = getattr(network, "mixer", None)
    if mixer is None:
      continue
    keys = keys_per_query(mixer, length)
    if keys is None:
      continue
    own = layer_mixer(mixer, network.width)
    return {
      "keys_per_query": float(keys),
      "cache_bytes_per_token": cache_bytes(own, length) / length,
    }
  return {}
