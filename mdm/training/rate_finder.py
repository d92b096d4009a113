"""A sweep over learning rates from a fresh state, and what it suggests.

The rate rises from step to step by one factor, from far too low to far too high, and
the loss is watched: it falls, is least, and rises. Nothing is written.

Source: *Cyclical Learning Rates for Training Neural Networks*, Smith, 2017, section 3.3
(the range test).
Differences: the rate rises exponentially, not linearly, so that it covers decades; the
loss of training batches, smoothed, stands for accuracy; and one rate is suggested, a
tenth of that at which the smoothed loss is least, instead of a range.
"""

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int

from mdm.training import build, sharding
from mdm.training.compiling import plan_step, read_settings
from mdm.training.feed import Feed, check_facts, make_feed
from mdm.training.origin import read_origin

STEPS = 100
LOWEST, HIGHEST = 1e-4, 1e2  # shares of the config's learning rate
MEMORY = 0.9  # of the smoothed loss
MARGIN = 10.0  # between the rate of the least loss and the one suggested


class Sweep(NamedTuple):
  """Learning rates, and the loss of the batch that each was used on.

  The loss of a step is that before its update.
  """

  rates: list[float]
  losses: list[float]


class Suggestion(NamedTuple):
  """What a sweep suggests.

  Attributes:
    rate: a tenth of `least`.
    least: the rate at which the smoothed loss is least.
    steepest: the rate at which it falls fastest, for a factor of the rate.
    smoothed: the smoothed loss of each step.
    has_risen: whether the loss rose at the end, so that the sweep went far enough.
  """

  rate: float
  least: float
  steepest: float
  smoothed: list[float]
  has_risen: bool


def sweep_rates(
  cfg: ml_collections.ConfigDict,
  *,
  steps: int = STEPS,
  lowest: float = LOWEST,
  highest: float = HIGHEST,
  feed: Feed | None = None,
) -> Sweep:
  """Trains a fresh state, or what `init` names, while the rate rises.

  It ends early where the loss is no number or far above the first. Rates of parts of
  the network rise alike.

  Args:
    cfg: the whole config; its learning rate is the unit of the sweep.
    steps: at most.
    lowest: share of the config's learning rate in the first step.
    highest: share in the last.
    feed: batches, if not those of `config.data`.

  Raises:
    ValueError: a setting is wrong, or the sweep has no room.
  """
  if steps < 2 or not 0 < lowest < highest:
    raise ValueError(
      f"a sweep of {steps} steps from {lowest} to {highest} has no room; give 2 steps "
      "or more, and a rising positive range."
    )
  train, optimizer, layout, mesh = read_settings(cfg)
  sections = dataclasses.replace(train, on_nan="stop"), optimizer, layout, mesh
  method = build.build_method(cfg)
  origin = read_origin(cfg.init.to_dict())
  feed = make_feed(cfg) if feed is None else feed
  check_facts(method, feed.facts)
  factor = (highest / lowest) ** (1 / (steps - 1))

  def share(step: Int[Array, ""]) -> Float[Array, ""]:
    """Of the learning rate."""
    return lowest * factor ** jnp.asarray(step, jnp.float32)

  planned = plan_step(method, feed, sections, seed=cfg.seed, share=share)
  if origin:
    origin.check(planned.abstract_state)
  found = Sweep([], [])
  with jax.set_mesh(mesh), tempfile.TemporaryDirectory() as folder:
    state = planned.make_state()
    if origin:
      state = origin.apply(state, Path(folder))
    for _, rows in zip(range(steps), feed.batches(0), strict=False):
      state, metrics = planned.step(state, sharding.put_batch(mesh, rows))
      found.rates.append(float(metrics["rate/learning"]))
      found.losses.append(float(metrics["loss"]))
      if is_lost(found.losses):
        break
  return found


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
  """A learning rate by a sweep: a tenth of the one whose smoothed loss is least.

  Args:
    rates: rising.
    losses: one for each; what follows a loss that is not finite does not count.

  Raises:
    ValueError: the loss never falls, or there are fewer than three.
  """
  smoothed = smooth(losses)
  if len(smoothed) < 3:
    raise ValueError(
      f"{len(smoothed)} finite losses suggest no learning rate; start the sweep at a "
      "lower optimizer.learning_rate."
    )
  best = min(range(len(smoothed)), key=smoothed.__getitem__)
  if best == 0:
    raise ValueError(
      f"the loss never falls below its first value from {rates[0]:.3g} to "
      f"{rates[len(smoothed) - 1]:.3g}; try a lower optimizer.learning_rate, or look "
      "whether the model can learn."
    )
  slopes = [
    (smoothed[k + 1] - smoothed[k]) / math.log(rates[k + 1] / rates[k])
    for k in range(best)
  ]
  steepest = min(range(best), key=slopes.__getitem__)
  return Suggestion(
    rate=rates[best] / MARGIN,
    least=rates[best],
    steepest=rates[steepest],
    smoothed=smoothed,
    has_risen=best < len(smoothed) - 1,
  )


def smooth(losses: Sequence[float], memory: float = MEMORY) -> list[float]:
  """Running means that forget by `memory`, without a pull to 0 at the start.

  They end before the first loss that is not finite.
  """
  total, weight, found = 0.0, 0.0, []
  for loss in losses:
    if not math.isfinite(loss):
      break
    total, weight = memory * total + loss, memory * weight + 1
    found.append(total / weight)
  return found


def is_lost(losses: Sequence[float]) -> bool:
  """Whether the last loss is no number, or the smoothed loss far above the first.

  Far is as far as the smoothed loss has fallen, and half of the first loss at least.
  """
  smoothed = smooth(losses)
  if len(smoothed) < len(losses):
    return True
  fall = max(losses[0] - min(smoothed), 0.5 * abs(losses[0]))
  return smoothed[-1] > losses[0] + fall
