"""How much a training loss varies with what is hidden, by how its times are drawn.

Of one model and one batch, losses and gradients are computed again and again, each time
with other times and masks. What is reported of each way to draw them:

  loss            mean of the loss, nats per token; the same for all, to be compared
  loss_sd         its standard deviation
  loss_spread     the same judged by the middle half of the draws
  variance_ratio  variance of the loss over that of independent times
  grad_norm       mean norm of the gradient, and its standard deviation grad_norm_sd
  grad_variance_ratio  E |g - E g|^2 over that of independent times

Where tokens are hidden one by one, a time near 0 weighs a single token by 1/t: now and
then one draw moves every variance, ratios included, however many draws there are. The
spread does not see such draws; counts do not have them.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, appendix
on variance reduction (systematic); *Simple and Effective Masked Diffusion Language
Models*, 2024 (stratified); *Large Language Diffusion Models*, 2025 (counted masks).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.masks.choices import check_choice
from mdm.masks.times import TIME_SAMPLING
from mdm.methods.base import Mean, Method
from mdm.training.keys import stream_keys
from mdm.training.step import objective

REFERENCE = "independent"
COUNTED = "counted"  # systematic counts of hidden tokens in place of times
ARMS = (*TIME_SAMPLING, COUNTED)
IQR = 1.349  # standard deviations that the middle half of a normal law spans


class Moments(NamedTuple):
  """Of draws: each loss and gradient norm, and the variance of the gradient."""

  loss: Float[Array, "r"]
  norm: Float[Array, "r"]
  variance: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class TimeVariance(Evaluation):
  """Variance of loss and gradient under each way to draw times.

  Attributes:
    split: whose first rows are the batch.
    batch: rows.
    draws: of times and masks, 2 or more; a standard deviation is then off by a share
      of about 1 / sqrt(2 draws).
    seed: of the draws.
    arms: which ways: "systematic", "stratified", "independent" times, each token hidden
      by itself; "counted" hides exact counts, spread systematically.
  """

  split: str = "validation"
  batch: int = 64
  draws: int = 64
  seed: int = 0
  arms: tuple[str, ...] = ARMS

  def __post_init__(self) -> None:
    """Raises ValueError for too few draws, an unknown arm, or none."""
    if self.draws < 2 or self.batch < 1:
      raise ValueError(
        f"draws = {self.draws} must be 2 or more, batch = {self.batch} 1 or more."
      )
    for arm in self.arms:
      check_choice("arms", arm, ARMS)
    if REFERENCE not in self.arms:
      raise ValueError(f"arms = {list(self.arms)} lacks {REFERENCE!r}; add it.")

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    dataset = datasets.load(data, self.split)
    rows = np.arange(min(self.batch, len(dataset)))
    batch = dataset.fetch(rows) | {
      "index": rows.astype(np.int32),
      "weight": np.ones(len(rows), np.float32),
    }
    ways = {arm: draw_by(method, arm) for arm in self.arms}
    run = {arm: make_drawer(way, batch, self.draws) for arm, way in ways.items()}

    def evaluate(variables: Variables) -> dict[str, float]:
      """Numbers of every arm."""
      found = {arm: run[arm](variables, self.seed) for arm in self.arms}
      return summarize(found) | {"draws": float(self.draws), "rows": float(len(rows))}

    return evaluate


def draw_by(method: Method, arm: str) -> Method:
  """The method with its times drawn in another way.

  Raises:
    ValueError: it draws no times.
  """
  fields = {field.name for field in dataclasses.fields(method)}
  if not {"times", "masking"} <= fields:
    raise ValueError(
      f"{type(method).__name__} draws no times; measure a mask diffusion, as "
      "diffusion.md4."
    )
  if arm == COUNTED:
    return method.clone(masking="count")
  return method.clone(masking="bernoulli", times=arm)


def make_drawer(
  method: Method, batch: Mapping[str, Any], draws: int
) -> Callable[[Variables, int], Moments]:
  """A compiled function from variables and a seed to the moments of draws."""

  def loss_of(
    params: Any, rest: Mapping[str, Any], seed: int, draw: jax.Array
  ) -> Float[Array, ""]:
    """The objective with the times and masks of one draw."""
    keys = stream_keys(seed, draw)
    given = {"params": params, **rest}
    means = method.apply(given, batch, train=False, rngs=keys)
    return objective(cast(Mapping[str, Mean], means), {})

  @functools.partial(jax.jit, static_argnums=1)
  def run(variables: Variables, seed: int) -> Moments:
    """Draws one after the other, adding up gradients and their squares."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    params = variables.get("params", {})

    def add(total: Any, draw: Int[Array, ""]) -> Any:
      """One draw."""
      loss, grads = jax.value_and_grad(loss_of)(params, rest, seed, draw)
      return jax.tree.map(jnp.add, total, grads), (loss, _square(grads))

    zeros = jax.tree.map(jnp.zeros_like, params)
    total, (losses, squares) = jax.lax.scan(add, zeros, jnp.arange(draws))
    mean_square = _square(jax.tree.map(lambda g: g / draws, total))
    variance = (squares.mean() - mean_square) * draws / (draws - 1)
    return Moments(losses, jnp.sqrt(squares), variance)

  return run


def summarize(found: Mapping[str, Moments]) -> dict[str, float]:
  """Numbers of each arm, "<arm>_<number>"; a ratio is 1 where both are 0."""
  base = found[REFERENCE]
  numbers: dict[str, float] = {}
  for arm, moments in found.items():
    loss, norm = (np.asarray(x, np.float64) for x in (moments.loss, moments.norm))
    numbers |= {
      f"{arm}_loss": float(loss.mean()),
      f"{arm}_loss_sd": float(loss.std(ddof=1)),
      f"{arm}_loss_spread": float(np.subtract(*np.quantile(loss, [0.75, 0.25]))) / IQR,
      f"{arm}_variance_ratio": _ratio(loss.var(), np.asarray(base.loss).var()),
      f"{arm}_grad_norm": float(norm.mean()),
      f"{arm}_grad_norm_sd": float(norm.std(ddof=1)),
      f"{arm}_grad_variance_ratio": _ratio(moments.variance, base.variance),
    }
  return numbers


def format_numbers(numbers: Mapping[str, float]) -> str:
  """The arms as lines of a table."""
  names = ("loss", "loss_sd", "loss_spread", "variance_ratio", "grad_norm",
           "grad_norm_sd", "grad_variance_ratio")  # fmt: skip
  heads = ("loss", "sd", "spread", "variance", "|g|", "sd", "variance")
  lines = ["times       " + "".join(f" {head:>9}" for head in heads)]
  for arm in (arm for arm in ARMS if f"{arm}_loss" in numbers):
    cells = (
      f"{numbers[f'{arm}_{name}']:8.3f}x"
      if name.endswith("ratio")
      else f"{numbers[f'{arm}_{name}']:9.4f}"
      for name in names
    )
    lines.append(f"{arm:12} " + " ".join(cells))
  return "\n".join(lines)


def _square(tree: Any) -> Float[Array, ""]:
  """The squared norm of a tree."""
  return sum((jnp.sum(x * x) for x in jax.tree.leaves(tree)), start=jnp.zeros(()))


def _ratio(one: Any, other: Any) -> float:
  """One over the other; 1 where both are 0."""
  one, other = float(one), float(other)
  return 1.0 if one == other else one / other if other else float("inf")
