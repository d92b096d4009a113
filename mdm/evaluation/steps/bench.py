"""A training step of a reference problem, beside PyTorch's in the same rounds.

Rounds go through everything in turn, ours and theirs of one kind next to each other, so
that a machine whose speed drifts slows both; ratios are taken within a round, and their
median is reported. On one batch that lies on the device are timed

  step     the loss, its gradient and the optimiser's update, as in the loop;
  both     the loss and its gradient;
  forward  the loss alone, in training mode;

and the parts of the problem, forward and backward, which PyTorch's side may have too:
`over_share` is a part's time over the first's, divided by the share that it is given.

`floor_s` is what a step must take: its products at the highest rate that any library
reached here in the same rounds, then the optimiser's passes over memory. `peak_share`
is that of the products in a step.

Before that the loop is timed beside the bare step, on noise that is sent to the device
for each step, and what starts once, as for a config (`evaluation/bench.py`).
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from mdm.evaluation import bench, step_costs
from mdm.evaluation.rates import Rates, open_gauge
from mdm.evaluation.steps.problems import Part, StepProblem
from mdm.evaluation.torch_process import TorchProcess, count_threads
from mdm.training import loop, sharding
from mdm.training.build import compute_dtype
from mdm.training.clock import Clock
from mdm.training.feed import Feed
from mdm.training.hardware import describe_hardware
from mdm.training.keys import stream_keys
from mdm.training.place import place_in_training
from mdm.training.state import State
from mdm.training.step import objective
from mdm.training.stopping import StopRequest

SCRIPT = Path(__file__).with_name("in_torch.py")
NEEDS = ("torch", "numpy", "transformers")
LOOP_ROUNDS = 3  # pairs of the loop and the bare step
UPDATE_BYTES = 7 * 4  # a parameter: read it, gradient, two moments; write all but one
PEER_KINDS = {
  "step": "step",
  "step_fused": "step",
  "both": "both",
  "forward": "forward",
}

Measure = Callable[[], float]
Times = dict[str, list[float]]


def bench_problem(
  problem: StepProblem,
  cfg: ml_collections.ConfigDict,
  *,
  steps: int,
  rounds: int,
  torch: str | None = None,
) -> dict[str, Any]:
  """Numbers of a problem's step, and all the times they are taken from.

  Args:
    problem: what is measured.
    cfg: its config.
    steps: passes of each kind in a round.
    rounds: rounds, after one to warm up.
    torch: an interpreter that has PyTorch and what the peer needs; None for no peer.

  Raises:
    ValueError: a wrong setting, or an interpreter that cannot run the peer.
  """
  began = time.perf_counter()
  with tempfile.TemporaryDirectory() as folder, StopRequest() as stop:
    run = prepare(problem, cfg, folder)
    try:
      with jax.set_mesh(run.mesh):
        few = min(rounds, LOOP_ROUNDS)
        state, found, _ = bench.bench_run(run, stop, began, steps=steps, rounds=few)
    finally:
      run.checkpoints.close()
    parts = problem.parts(run.method, cfg)
    notes, numbers = [], {}
    gauge = open_gauge(compute_dtype(cfg.dtype).name)
    if torch is None:
      with jax.set_mesh(run.mesh):
        measures = open_ours(run, state, parts, steps)
        times = time_rounds(measures, rounds, each=gauge.measure)
    else:
      settings = problem.describe(run.method, cfg)
      with jax.set_mesh(run.mesh), TorchProcess(torch, SCRIPT, NEEDS) as process:
        theirs, told = open_torch(process, problem, cfg, settings, steps)
        measures = open_ours(run, state, parts, steps)
        mixed = interleave(measures, theirs)
        times = time_rounds(mixed, rounds, each=gauge.measure)
        told |= process.ask(memory=True)
      numbers = {f"torch/{k}": told[k] for k in ("parameters", "peak_mib")}
      notes.append(
        f"PyTorch {told['version']} on {told['device']}, {count_threads()} threads, "
        "AdamW as it comes and fused"
      )
  found["parameters"] = sum(x.size for x in jax.tree.leaves(run.abstract_state.params))
  numbers = found | numbers | summarise(times, parts, int(cfg.train.batch))
  if run.mesh.size == 1:
    numbers |= compare_with_floor(numbers, gauge.rates)
  rest = {"config": cfg.to_dict(), "hardware": describe_hardware(), "notes": notes}
  return {"numbers": step_costs.plain(numbers), "times": times, **rest}


def prepare(
  problem: StepProblem, cfg: ml_collections.ConfigDict, folder: str | Path
) -> loop.Run:
  """A run of the config, fed with the same noise again and again."""
  batch = problem.draw_batch(cfg)

  def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
    """The batch, without end."""
    del start
    while True:
      yield batch

  feed = Feed(batches, epoch=1)
  return loop.prepare_run(cfg, folder, feed=feed, evaluators={}, clock=Clock())


def open_ours(
  run: loop.Run, state: State, parts: Sequence[Part], steps: int
) -> dict[str, Measure]:
  """What times one call of each kind and part; the step takes the state for its own."""
  batch = sharding.put_batch(run.mesh, next(run.feed.batches(0)))
  losses = functools.partial(loss_of, run, batch)
  held = [state]

  def take(state: State) -> State:
    """A step, whose state becomes the next one's."""
    held[0], _ = run.step(state, batch)
    return held[0]

  def differentiated(part: Part) -> Callable[[State], Any]:
    """A part forward and backward."""
    gradient = jax.jit(jax.grad(lambda params: part.value(params, batch)))
    return lambda state: gradient(state.params)

  runs: dict[str, Callable[[State], Any]] = {
    "step": take,
    "both": jax.jit(lambda state: jax.value_and_grad(losses)(state.params, state)),
    "forward": jax.jit(lambda state: losses(state.params, state)),
  }
  runs |= {part.name: differentiated(part) for part in parts}

  def measure(name: str) -> float:
    """Mean seconds of a call."""
    began = time.perf_counter()
    for _ in range(steps):
      result = runs[name](held[0])
    jax.block_until_ready(result)
    return (time.perf_counter() - began) / steps

  return {name: functools.partial(measure, name) for name in runs}


def loss_of(
  run: loop.Run, batch: Mapping[str, jax.Array], params: Any, state: State
) -> jax.Array:
  """The objective of one batch, as the step computes it before its gradient."""
  rows = next(iter(batch.values())).shape[0]
  place = place_in_training(
    state.step, rows, steps=run.plan.steps, epoch=run.feed.epoch
  )
  means, _ = run.method.apply(
    {"params": params, **state.collections},
    {**batch, **place},
    train=True,
    rngs=stream_keys(run.cfg.seed, state.step),
    mutable=list(state.collections),
  )
  return objective(means, {})


def open_torch(
  process: TorchProcess,
  problem: StepProblem,
  cfg: ml_collections.ConfigDict,
  settings: Mapping[str, Any],
  steps: int,
) -> tuple[dict[str, Measure], dict[str, Any]]:
  """What times PyTorch's calls, and what it says of itself."""
  rule = cfg.optimizer
  told = process.ask(
    open=str(SCRIPT.with_name(problem.peer)),
    settings=dict(settings),
    batch=int(cfg.train.batch),
    optimizer={
      "lr": rule.learning_rate,
      "betas": (rule.b1, rule.b2),
      "eps": rule.eps,
      "weight_decay": rule.weight_decay,
    },
    seed=int(cfg.seed),
    dtype=compute_dtype(cfg.dtype).name,
    threads=count_threads(),
  )

  def measure(kind: str) -> float:
    """Mean seconds of a call."""
    return float(process.ask(time=kind, steps=steps)["seconds"])

  kinds = (*PEER_KINDS, *told.get("parts", ()))
  return {kind: functools.partial(measure, kind) for kind in kinds}, told


def interleave(
  ours: Mapping[str, Measure], theirs: Mapping[str, Measure]
) -> dict[str, Measure]:
  """Ours in their order, each followed by theirs of its kind, as `torch/KIND`."""
  mixed: dict[str, Measure] = {}
  for name, measure in ours.items():
    mixed[name] = measure
    mixed |= {
      f"torch/{kind}": theirs[kind]
      for kind in theirs
      if PEER_KINDS.get(kind, kind) == name
    }
  return mixed


def time_rounds(
  measures: Mapping[str, Measure],
  rounds: int,
  *,
  each: Callable[[], object] = lambda: None,
) -> Times:
  """Seconds of each in every round, after one that warms up (and compiles).

  Args:
    each: called as a round begins.
  """
  times: Times = {name: [] for name in measures}
  for number in range(rounds + 1):
    each()
    for name, measure in measures.items():
      spent = measure()
      if number:
        times[name].append(spent)
  return times


def summarise(times: Times, parts: Sequence[Part], batch: int) -> dict[str, float]:
  """Medians and minima over rounds, and medians of ratios within rounds."""
  numbers: dict[str, float] = {}

  def ratio(above: str, below: str) -> float:
    """Median over rounds."""
    pairs = zip(times[above], times[below], strict=True)
    return statistics.median(a / b for a, b in pairs)

  for name, spent in times.items():
    numbers[f"{name}_s"] = statistics.median(spent)
    numbers[f"{name}_min_s"] = min(spent)
    if name in ("step", "torch/step", "torch/step_fused"):
      numbers[f"{name}_examples_per_s"] = batch / statistics.median(spent)
    if name.startswith("torch/"):
      kind = name.removeprefix("torch/")
      numbers[f"{name}_over_ours"] = ratio(name, PEER_KINDS.get(kind, kind))
  for part in parts:
    whole = ratio(part.name, parts[0].name)
    numbers[f"{part.name}_over_share"] = whole / (part.share / parts[0].share)
  return numbers


def compare_with_floor(numbers: Mapping[str, float], rates: Rates) -> dict[str, float]:
  """The least time of a step on this device, and how far from it steps are."""
  products = numbers["step/products_gflop"] * 1e9 / rates.flops_per_s
  update = numbers["parameters"] * UPDATE_BYTES / rates.bytes_per_s
  floor = products + update
  steps = [s for s in ("step", "torch/step", "torch/step_fused") if f"{s}_s" in numbers]
  return {
    "rate/gflop_per_s": rates.flops_per_s / 1e9,
    "rate/gbyte_per_s": rates.bytes_per_s / 1e9,
    "floor_s": floor,
    "step_peak_share": products / numbers["step_s"],
  } | {f"{s}_over_floor": numbers[f"{s}_s"] / floor for s in steps}
