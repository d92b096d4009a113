"""The optimiser as config asks for it, made of optax parts.

Order of the chain: clip by global norm, the named rule, decoupled weight decay on
matrices, layer-wise factors, minus the scheduled rate; parameters that a method does
not train are left bit for bit as they were.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from mdm.training.settings import Optimizer, to_steps

PyTree = Any


def make_schedule(cfg: Optimizer, *, steps: int, epoch: int) -> optax.Schedule:
  """Learning rate at step t: linear warm-up, then the named shape down to `end`."""
  warmup = to_steps("optimizer.warmup", cfg.warmup, total=steps, epoch=epoch)
  peak, last = cfg.learning_rate, cfg.learning_rate * cfg.end
  rest = max(steps - warmup, 1)
  if cfg.schedule == "constant":
    main = optax.constant_schedule(peak)
  elif cfg.schedule == "cosine":
    main = optax.cosine_decay_schedule(peak, rest, alpha=cfg.end)
  elif cfg.schedule == "linear":
    main = optax.linear_schedule(peak, last, rest)
  else:
    fall = to_steps("optimizer.decay", cfg.decay, total=steps, epoch=epoch)
    main = optax.linear_schedule(peak, last, max(fall, 1), max(rest - fall, 0))
  rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
  return optax.join_schedules([rise, main], [warmup]) if warmup else main


def make_optimizer(
  cfg: Optimizer,
  schedule: optax.Schedule,
  trainable: Callable[[str], bool] = lambda path: True,
) -> optax.GradientTransformation:
  """The gradient transformation of a training.

  Args:
    cfg: the settings.
    schedule: learning rate of the step.
    trainable: whether the parameter at a path ("encoder/stem/kernel") is optimised.
  """
  parts = [optax.clip_by_global_norm(cfg.clip)] if cfg.clip else []
  parts.append(_rule(cfg))
  if cfg.weight_decay:
    parts.append(optax.add_decayed_weights(cfg.weight_decay, mask=decay_mask))
  if cfg.layer_decay != 1.0:
    parts.append(_scale_by_layer(cfg.layer_decay))
  parts.append(optax.scale_by_learning_rate(schedule))

  def labels(params: PyTree) -> PyTree:
    return map_with_path(lambda p, _: "train" if trainable(p) else "fixed", params)

  return optax.partition(
    {"train": optax.chain(*parts), "fixed": optax.set_to_zero()}, labels
  )


def decay_mask(params: PyTree) -> PyTree:
  """True where weight decay applies: matrices and kernels, not biases and norms.

  Stacked layers (`scan`) carry one axis more, so a vector under a `layers` name is
  recognised by its own name rather than by its rank.
  """
  exempt = re.compile(r"(bias|scale|position\w*|embedding)$")
  return map_with_path(lambda path, x: x.ndim > 1 and not exempt.search(path), params)


def layer_depths(params: PyTree) -> PyTree:
  """Layers that lie above each parameter: 0 at the top, most at the stem.

  A number in a path ("block_3") is the layer's; what has none and comes before the
  blocks (stem, embedding, position) counts as below the first layer.
  """
  below = re.compile(r"(stem|embed|position|patch)")

  def depth(path: str) -> int | None:
    numbers = re.findall(r"_(\d+)(?=/)", path)
    if numbers:
      return int(numbers[0]) + 1
    return 0 if below.search(path) else None

  depths = map_with_path(lambda path, _: depth(path), params)
  top = 1 + max([d for d in jax.tree.leaves(depths) if d is not None], default=0)
  return map_with_path(lambda path, _: top - d if (d := depth(path)) is not None else 0,
                       params)  # fmt: skip


def map_with_path(f: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
  """`jax.tree.map` of f(path, leaf), the path written "a/b/c"."""
  return jax.tree_util.tree_map_with_path(
    lambda p, x: f(jax.tree_util.keystr(p, simple=True, separator="/"), x), tree
  )


def _rule(cfg: Optimizer) -> optax.GradientTransformation:
  if cfg.name == "sgd":
    return optax.trace(cfg.b1) if cfg.b1 else optax.identity()
  if cfg.name == "lion":
    return optax.scale_by_lion(cfg.b1, cfg.b2)
  adam = optax.scale_by_adam(cfg.b1, cfg.b2, cfg.eps)
  if cfg.name == "adamw":
    return adam

  def labels(params: PyTree) -> PyTree:
    return jax.tree.map(lambda x: "muon" if x.ndim == 2 else "adam", params)

  muon = optax.contrib.scale_by_muon(beta=cfg.b1)
  return optax.partition({"muon": muon, "adam": adam}, labels)


def _scale_by_layer(factor: float) -> optax.GradientTransformation:
  def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple:
    del params
    scaled = jax.tree.map(lambda u, d: u * factor**d, updates, layer_depths(updates))
    return scaled, state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
