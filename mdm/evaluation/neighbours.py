"""Classification by nearest neighbours: how well features lie together by class.

Each validation image asks the k training images of the greatest cosine similarity s_j;
class c gets the votes

  v_c = sum over neighbours j of class c of exp(s_j / T)

and the class with most votes is the answer. The search is exact.

Source: *Unsupervised Feature Learning via Non-Parametric Instance Discrimination*, Wu
et al., 2018, section 3.4; k = 20 and T = 0.07 as in *Emerging Properties in
Self-Supervised Vision Transformers* (DINO), Caron et al., 2021, and its code.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mdm.evaluation.accuracy import score_classes
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.features import Encoder, Features
from mdm.methods.base import Method

CHUNK = 1 << 16  # training images compared with at once


@dataclasses.dataclass(frozen=True)
class Neighbours(Evaluation):
  """Asks training images for the classes of a split.

  `data.label_share` of the evaluation's own `data` leaves fewer images to ask.

  Attributes:
    split: whose images are classified; those of "train" are asked.
    k: how many neighbours; all if there are fewer.
    temperature: of their votes.
    pool: see `encode` of the method.
    batch: images encoded, or compared, at once.
    limit: only the first so many of either split; 0 for all.
  """

  split: str = "validation"
  k: int = 20
  temperature: float = 0.07
  pool: str = "mean"
  batch: int = 250
  limit: int = 0

  def __post_init__(self) -> None:
    """Raises ValueError for no neighbours or no temperature."""
    for name in ("k", "temperature"):
      if getattr(self, name) <= 0:
        raise ValueError(f"{name} = {getattr(self, name)} must be above 0.")

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    encoder = Encoder(method, self.pool)
    known, asked = (datasets.load(data, split) for split in ("train", self.split))
    num_classes = len(known.classes)

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers."""
      read = partial(encoder.features, variables, batch=self.batch, limit=self.limit)
      bank, queries = read(known), read(asked)
      k = min(self.k, len(bank.labels))
      votes = [
        vote(
          bank, queries.vectors[i : i + self.batch], num_classes, k, self.temperature
        )
        for i in range(0, len(queries.labels), self.batch)
      ]
      return score_classes(np.concatenate(votes), queries.labels)

    return evaluate


def vote(
  bank: Features,
  queries: Float[np.ndarray, "b d"],
  num_classes: int,
  k: int,
  temperature: float,
) -> Float[np.ndarray, "b m"]:
  """Votes of the k nearest of the bank for each class, the greatest weight being 1.

  Dividing all weights of a query by the greatest keeps small temperatures finite.
  """
  asked = jnp.asarray(unit_vectors(queries))
  found = []
  for i in range(0, len(bank.labels), CHUNK):
    part = jnp.asarray(unit_vectors(bank.vectors[i : i + CHUNK]))
    found.append(nearest(asked, part, jnp.asarray(bank.labels[i : i + CHUNK]), k))
  similarity, labels = (np.concatenate(x, axis=1) for x in zip(*found, strict=True))
  order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]  # b k
  similarity = np.take_along_axis(similarity, order, axis=1)
  labels = np.take_along_axis(labels, order, axis=1)
  weight = np.exp((similarity - similarity[:, :1]) / temperature)
  votes = np.zeros((len(queries), num_classes), np.float32)
  np.add.at(votes, (np.arange(len(queries))[:, None], labels), weight)
  return votes


@partial(jax.jit, static_argnames="k")
def nearest(
  queries: Float[Array, "b d"],
  bank: Float[Array, "n d"],
  labels: Int[Array, "n"],
  k: int,
) -> tuple[Float[Array, "b j"], Int[Array, "b j"]]:
  """Similarities and labels of the j = min(k, n) nearest, the nearest first."""
  similarity = jnp.einsum("bd,nd->bn", queries, bank, precision="highest")
  top, places = jax.lax.top_k(similarity, min(k, bank.shape[0]))
  return top, labels[places]


def unit_vectors(vectors: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "b d"]:
  """Each vector at length 1; a vector of zeros stays one."""
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.maximum(lengths, 1e-12)
