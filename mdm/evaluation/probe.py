"""Linear probe: what a linear classifier reads from features that stay as they are.

Features of the training images are computed once and brought to mean 0 and deviation 1;
then multinomial logistic regression with a penalty on its weights is solved by L-BFGS:

  min over W, b of  mean -log softmax(W x + b)[label] + penalty / 2 |W|^2

The minimum is unique, so there is no learning rate or seed. The penalty is the one of
several that does best on every fifth training image when learned from the others; the
split that is measured plays no part in it.

Source: *Learning Transferable Visual Models From Natural Language Supervision*, Radford
et al., 2021, appendix A.3 (logistic regression by L-BFGS, the penalty chosen on images
held out); the probe by SGD with random crops is `methods/image/classify.py`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mdm.evaluation.accuracy import score_classes
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.features import Encoder, Features
from mdm.methods.base import Method

FOLD = 5  # every fifth image is held out to choose the penalty


class Line(NamedTuple):
  """A linear map from features to scores."""

  weight: Float[Array, "d m"]
  bias: Float[Array, "m"]


@dataclasses.dataclass(frozen=True)
class LinearProbe(Evaluation):
  """Learns a linear classifier from training images and measures it on a split.

  `data.label_share` of the evaluation's own `data` leaves fewer images to learn from.

  Attributes:
    split: which part of the data set is measured.
    pool: see `encode` of the method.
    penalties: to choose from; one needs no choice.
    steps: of L-BFGS at most.
    batch: images encoded at once.
    limit: only the first so many of either split; 0 for all.
  """

  split: str = "validation"
  pool: str = "mean"
  penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
  steps: int = 200
  batch: int = 250
  limit: int = 0

  def __post_init__(self) -> None:
    """Raises ValueError for no penalty, or a negative one."""
    if not self.penalties or min(self.penalties) < 0:
      raise ValueError(
        f"penalties = {list(self.penalties)} must be numbers of 0 or more; write "
        "[0.001]."
      )

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    encoder = Encoder(method, self.pool)
    known, asked = (datasets.load(data, split) for split in ("train", self.split))
    num_classes = len(known.classes)

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers."""
      read = partial(encoder.features, variables, batch=self.batch, limit=self.limit)
      train, test = standardise(read(known), read(asked))
      penalty = choose_penalty(train, num_classes, self.penalties, self.steps)
      line = fit(train, num_classes, penalty, self.steps)
      numbers = score_classes(predict(line, test), test.labels)
      return numbers | {"penalty": penalty}

    return evaluate


def standardise(train: Features, test: Features) -> tuple[Features, Features]:
  """Both with the mean and the deviation of the first taken off and divided by."""
  mean, deviation = train.vectors.mean(0), train.vectors.std(0) + 1e-6
  scaled = (x._replace(vectors=(x.vectors - mean) / deviation) for x in (train, test))
  first, second = scaled
  return first, second


def choose_penalty(
  train: Features, num_classes: int, penalties: Sequence[float], steps: int
) -> float:
  """The penalty that does best on every fifth example, learned from the others.

  Of equally good ones the greatest.
  """
  if len(penalties) == 1 or len(train.labels) < FOLD:
    return max(penalties)
  is_held = np.arange(len(train.labels)) % FOLD == FOLD - 1
  ours, held = (Features(*(x[rows] for x in train)) for rows in (~is_held, is_held))

  def quality(penalty: float) -> tuple[float, float]:
    """Accuracy on what is held out."""
    scores = predict(fit(ours, num_classes, penalty, steps), held)
    return score_classes(scores, held.labels)["accuracy"], penalty

  return max(penalties, key=quality)


def fit(train: Features, num_classes: int, penalty: float, steps: int) -> Line:
  """The classifier of least penalised loss."""
  vectors, labels = jnp.asarray(train.vectors), jnp.asarray(train.labels)
  start = Line(jnp.zeros((vectors.shape[1], num_classes)), jnp.zeros(num_classes))
  return solve(start, vectors, labels, jnp.float32(penalty), steps=steps)


@partial(jax.jit, static_argnames="steps")
def solve(
  line: Line,
  vectors: Float[Array, "b d"],
  labels: Int[Array, "b"],
  penalty: Float[Array, ""],
  *,
  steps: int,
) -> Line:
  """L-BFGS until the gradient is below 1e-4, or so many steps."""

  def loss(line: Line) -> Float[Array, ""]:
    """What is minimised."""
    logits = vectors @ line.weight + line.bias  # b m
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return nats.mean() + penalty / 2 * jnp.square(line.weight).sum()

  rule = optax.lbfgs(memory_size=20)
  value_and_grad = optax.value_and_grad_from_state(loss)

  def step(carry: tuple) -> tuple:
    """One step with a line search."""
    line, state, _, count = carry
    value, grad = value_and_grad(line, state=state)
    updates, state = rule.update(
      grad, state, line, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(line, updates), state, optax.tree.norm(grad), count + 1

  def goes_on(carry: tuple) -> Array:
    """Whether it is neither solved nor at its end."""
    return (carry[2] > 1e-4) & (carry[3] < steps)

  first = (line, rule.init(line), jnp.float32(jnp.inf), 0)
  return jax.lax.while_loop(goes_on, step, first)[0]


def predict(line: Line, test: Features) -> Float[np.ndarray, "b m"]:
  """Scores of each class."""
  return test.vectors @ np.asarray(line.weight) + np.asarray(line.bias)
