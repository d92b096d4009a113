"""The optimiser as config asks for it, made of optax parts.

Order of the chain: clip by global norm, the named rule, decoupled weight decay on
matrices, layer-wise factors, minus the scheduled rate, which may be another for parts
of the network; parameters that a method does not train are left bit for bit as they
were. LAMB and LARS have weight decay inside their rule, before the step is made as long
as a share of the matrix it is for.

Source: *Large Batch Optimization for Deep Learning: Training BERT in 76 minutes*, You
et al., 2020, algorithm 2 (LAMB); *Large Batch Training of Convolutional Networks*, You
et al., 2017, algorithm 1 (LARS); *Adafactor: Adaptive Learning Rates with Sublinear
Memory Cost*, Shazeer and Stern, 2018, algorithm 4.
Differences: as in code for images, what has no weight decay (biases, norms, tables)
takes plain steps of Adam or momentum; and LARS scales the step before the momentum.
Adafactor's second moments decay by b2, with Adam's correction for the start (section
7.1 there), and rates are absolute, so that those of Adam serve it too.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mdm.training.settings import Optimizer, to_steps
from mdm.training.state import leaf_paths

PyTree = Any
LAYER = re.compile(
  r"^(?P<stack>.*?)(?:block|layer|stage|down|norm)_(?P<numbers>[\d_]+)/"
)
BELOW = re.compile(r"(stem|embed|position|patch|neighbours|_token$)")
TABLE = re.compile(r"(position\w*|embedding|_token)$")
STACKED = re.compile(r"(^|/)blocks/")
LARS_TRUST = 0.001
LONGEST = 1.0  # root mean square of an array's step in Adafactor, its d


def scale_rate(cfg: Optimizer, batch: int) -> Optimizer:
  """The settings with the learning rate for a batch, linear in its size.

  Source: *Accurate, Large Minibatch SGD*, Goyal et al., 2017, section 2.1.
  """
  if not cfg.scale_batch:
    return cfg
  share = batch / cfg.scale_batch
  parts = {
    part: {k: v * share if k == "learning_rate" else v for k, v in changes.items()}
    for part, changes in cfg.parts.items()
  }
  rate = cfg.learning_rate * share
  return dataclasses.replace(cfg, learning_rate=rate, scale_batch=0, parts=parts)


def make_schedule(cfg: Optimizer, *, steps: int, epoch: int) -> optax.Schedule:
  """Learning rate at step t: linear warm-up, then the named shape down to `end`.

  The one-cycle schedule rises along a half cosine instead, from a 25th of the peak.
  """
  warmup = to_steps("optimizer.warmup", cfg.warmup, total=steps, epoch=epoch)
  peak, last = cfg.learning_rate, cfg.learning_rate * cfg.end
  rest = max(steps - warmup, 1)
  if cfg.schedule == "constant":
    main = optax.constant_schedule(peak)
  elif cfg.schedule in ("cosine", "onecycle"):
    main = optax.cosine_decay_schedule(peak, rest, alpha=cfg.end)
  elif cfg.schedule == "linear":
    main = optax.linear_schedule(peak, last, rest)
  elif cfg.schedule == "rsqrt":
    main = _inverse_root(peak, max(warmup, 1))
  elif cfg.schedule == "multistep":
    places = [
      to_steps("optimizer.drops", place, total=steps, epoch=epoch)
      for place in cfg.drops
    ]
    falls = [max(place - warmup, 0) for place in places]
    main = optax.piecewise_constant_schedule(
      peak, {place: cfg.drop ** falls.count(place) for place in falls}
    )
  else:
    fall = to_steps("optimizer.decay", cfg.decay, total=steps, epoch=epoch)
    main = optax.linear_schedule(peak, last, max(fall, 1), max(rest - fall, 0))
  if cfg.schedule == "onecycle" and warmup:
    rise = optax.cosine_decay_schedule(peak / 25, warmup, alpha=25.0)
  else:
    rise = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
  return optax.join_schedules([rise, main], [warmup]) if warmup else main


def make_part_schedules(
  cfg: Optimizer, *, steps: int, epoch: int
) -> dict[str, optax.Schedule]:
  """Learning rates of the parts that have their own, see `make_schedule`."""
  return {
    part: make_schedule(
      dataclasses.replace(cfg, parts={}, **changes), steps=steps, epoch=epoch
    )
    for part, changes in cfg.parts.items()
  }


def make_shares(
  cfg: Optimizer, share: optax.Schedule
) -> tuple[optax.Schedule, dict[str, optax.Schedule]]:
  """The learning rate, and those of parts, as a share of their peaks at each step."""

  def part_of(peak: float) -> optax.Schedule:
    """Of one peak."""
    return lambda step: peak * share(step)

  peaks = {k: v.get("learning_rate", cfg.learning_rate) for k, v in cfg.parts.items()}
  return part_of(cfg.learning_rate), {k: part_of(peak) for k, peak in peaks.items()}


def _inverse_root(peak: float, warmup: int) -> optax.Schedule:
  """The peak times sqrt(warmup / step), from the end of a warm-up on.

  Source: *Attention Is All You Need*, Vaswani et al., 2017, equation 3.
  """
  return lambda step: peak * jnp.sqrt(warmup / (warmup + step))


def make_optimizer(
  cfg: Optimizer,
  schedule: optax.Schedule,
  trainable: Callable[[str], bool] = lambda path: True,
  *,
  parts: Mapping[str, optax.Schedule] | None = None,
) -> optax.GradientTransformation:
  """The gradient transformation of a training.

  Args:
    cfg: the settings.
    schedule: learning rate of the step.
    trainable: whether the parameter at a path ("encoder/stem/kernel") is optimised.
    parts: other learning rates, by the beginning of parameters' paths; of several that
      fit, the longest counts.

  Raises:
    ValueError: when the transformation begins, for a part that no parameter lies in.
  """
  chain = [optax.clip_by_global_norm(cfg.clip)] if cfg.clip else []
  chain += _rule(cfg)
  if cfg.layer_decay != 1.0:
    chain.append(_scale_by_layer(cfg.layer_decay))
  chain.append(_scale_by_rates(schedule, parts or {}))

  def labels(params: PyTree) -> PyTree:
    """Which parameters are trained."""
    return map_with_path(lambda p, _: "train" if trainable(p) else "fixed", params)

  return optax.partition(
    {"train": optax.chain(*chain), "fixed": optax.set_to_zero()}, labels
  )


def _scale_by_rates(
  schedule: optax.Schedule, parts: Mapping[str, optax.Schedule]
) -> optax.GradientTransformation:
  """Minus the scheduled rate, each part of the network by its own."""
  if not parts:
    return optax.scale_by_learning_rate(schedule)

  def part_of(path: str) -> str:
    """The part that a parameter lies in; "" for none."""
    within = [part for part in parts if f"{path}/".startswith(f"{part}/")]
    return max(within, key=len, default="")

  def labels(params: PyTree) -> PyTree:
    """The part of each parameter."""
    found = map_with_path(lambda path, _: part_of(path), params)
    names = set(jax.tree.leaves(found))
    if empty := sorted(set(parts) - names) if names else []:
      known = sorted({path.partition("/")[0] for path in leaf_paths(params)})
      raise ValueError(
        f"optimizer.parts names {empty[0]!r}, in which no trained parameter lies; name "
        f"the beginning of a path, such as {', '.join(known)}."
      )
    return found

  rates = {"": schedule, **parts}
  each = {part: optax.scale_by_learning_rate(rate) for part, rate in rates.items()}
  return optax.partition(each, labels)


def decay_mask(params: PyTree) -> PyTree:
  """True where weight decay applies: matrices and kernels, not biases and norms.

  Stacked layers (`scan`) carry one axis more, so a vector under a `layers` name is
  recognised by its own name rather than by its rank. Learned tokens are exempt too.
  """
  exempt = re.compile(r"(bias|scale|position\w*|embedding|_token|\bA)$")
  return map_with_path(lambda path, x: x.ndim > 1 and not exempt.search(path), params)


def layer_depths(params: PyTree) -> PyTree:
  """Layers that lie above each parameter: 0 at the top, most at the stem.

  A numbered part of a path ("block_3", "stage_1_0", "down_1") is a layer of the stack
  it lies in, and a stack's layers count in the order of their numbers. What has no
  number and comes before the layers (stem, embedding, position) lies below them all.
  Where `scan` has stacked a parameter's layers, it gets an array of depths, which
  multiplies along its first axis.
  """
  layers: dict[str, set[tuple[int, ...]]] = {}
  counts: dict[str, int] = {}

  def note(path: str, leaf: Any) -> None:
    """Counts the layers of a parameter's stack."""
    stack, layer = _layer_of(path)
    if layer:
      layers.setdefault(stack, set()).add(layer)
    elif scanned := STACKED.search(path):
      counts[path[: scanned.start()]] = leaf.shape[0]

  map_with_path(note, params)
  order = {stack: sorted(numbers) for stack, numbers in layers.items()}
  most = max([*map(len, order.values()), *counts.values()], default=0)

  def depth(path: str, leaf: Any) -> Any:
    """Layers above one parameter."""
    stack, layer = _layer_of(path)
    if layer:
      return len(order[stack]) - order[stack].index(layer)
    if STACKED.search(path):
      above = np.arange(leaf.shape[0], 0, -1, dtype=np.float32)
      return above.reshape(-1, *[1] * (leaf.ndim - 1))
    return most + 1 if BELOW.search(path) else 0

  return map_with_path(depth, params)


def _layer_of(path: str) -> tuple[str, tuple[int, ...]]:
  found = LAYER.search(path)
  if not found or BELOW.search(found["stack"]):
    return "", ()
  return found["stack"], tuple(int(n) for n in found["numbers"].split("_"))


def map_with_path(f: Callable[[str, Any], Any], tree: PyTree) -> PyTree:
  """`jax.tree.map` of f(path, leaf), the path written "a/b/c"."""
  return jax.tree_util.tree_map_with_path(
    lambda p, x: f(jax.tree_util.keystr(p, simple=True, separator="/"), x), tree
  )


def _rule(cfg: Optimizer) -> list[optax.GradientTransformation]:
  """What makes a step of a gradient, weight decay included."""
  decay = []
  if cfg.weight_decay:
    decay = [optax.add_decayed_weights(cfg.weight_decay, mask=decay_mask)]
  momentum = optax.trace(cfg.b1, cfg.nesterov) if cfg.b1 else optax.identity()
  adam = optax.scale_by_adam(cfg.b1, cfg.b2, cfg.eps)
  if cfg.name == "lars":
    return [*decay, _trust(LARS_TRUST), momentum]
  if cfg.name == "lamb":
    return [adam, *decay, _trust(1.0)]
  if cfg.name == "sgd":
    return [momentum, *decay]
  if cfg.name == "lion":
    return [optax.scale_by_lion(cfg.b1, cfg.b2), *decay]
  if cfg.name == "adafactor":
    return [*_adafactor(cfg.b1, cfg.b2), *decay]
  if cfg.name == "muon":
    adam = optax.partition({"muon": _muon(cfg.b1), "adam": adam}, _muon_or_adam)
  return [adam, *decay]


def _trust(share: float) -> optax.GradientTransformation:
  """Makes a matrix's step as long as a share of the matrix, each layer's by itself.

  Where either of them is 0, and for what has no weight decay, the step stays.
  """

  def lengthen(path: str, step: jax.Array, param: jax.Array) -> jax.Array:
    """One parameter's step."""
    axes = _within_layer(path, step)
    norm, long = (
      jnp.sqrt(jnp.square(x).sum(axes, keepdims=True)) for x in (step, param)
    )
    can_scale = (norm > 0) & (long > 0)
    ratio = share * long / jnp.where(can_scale, norm, 1.0)
    return step * jnp.where(can_scale, ratio, 1.0)

  def update(steps: PyTree, params: PyTree) -> PyTree:
    """All steps."""
    paths = map_with_path(lambda path, _: path, params)
    return jax.tree.map(
      lambda path, matrix, s, p: lengthen(path, s, p) if matrix else s,
      paths, decay_mask(params), steps, params,
    )  # fmt: skip

  return optax.stateless(update)


def _adafactor(b1: float, b2: float) -> list[optax.GradientTransformation]:
  """Adafactor without a schedule of its own: algorithm 4, and momentum.

  Second moments of an array with two axes of 128 or more are kept as their means over
  either of these; layers that `scan` has stacked keep their own.
  """

  def decay(step: jax.Array, b2: float) -> jax.Array:
    """b2 (1 - b2^t) / (1 - b2^(t + 1)): the mean of all squares so far, weighed."""
    return b2 * (1.0 - b2**step) / (1.0 - b2 ** (step + 1.0))

  def shorten(path: str, step: jax.Array) -> jax.Array:
    """One array's step, its root mean square at most `LONGEST`; each layer's."""
    square = jnp.square(step).mean(_within_layer(path, step), keepdims=True)
    return step / jnp.maximum(1.0, jnp.sqrt(square) / LONGEST)

  return [
    optax.scale_by_factored_rms(decay_rate=b2, decay_rate_fn=decay),
    optax.stateless(lambda steps, _: map_with_path(shorten, steps)),
    *([optax.ema(b1, debias=False)] if b1 else []),
  ]


def _within_layer(path: str, array: jax.Array) -> tuple[int, ...]:
  """An array's axes but the one along which `scan` has stacked layers."""
  return tuple(range(1 if STACKED.search(path) else 0, array.ndim))


def _muon_or_adam(params: PyTree) -> PyTree:
  return map_with_path(
    lambda path, x: "muon" if x.ndim == 2 and not TABLE.search(path) else "adam", params
  )


def _muon(beta: float) -> optax.GradientTransformation:
  """Muon, its updates as large as Adam's, so that one learning rate serves both.

  Source: Muon is Scalable for LLM Training, Liu et al., 2025, section 2.2.
  """
  matrix = optax.contrib.MuonDimensionNumbers()

  def widen(updates: PyTree, params: PyTree) -> PyTree:
    """Scales orthogonal updates."""
    del params
    return jax.tree.map(lambda x: x * (0.2 * max(x.shape) ** 0.5), updates)

  return optax.chain(
    optax.contrib.scale_by_muon(
      beta=beta,
      weight_dimension_numbers=lambda tree: jax.tree.map(lambda _: matrix, tree),
    ),
    optax.stateless(widen),
  )


def _scale_by_layer(factor: float) -> optax.GradientTransformation:
  def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple:
    """Scales each update by its layer's factor."""
    del params
    scaled = jax.tree.map(lambda u, d: u * factor**d, updates, layer_depths(updates))
    return scaled, state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
