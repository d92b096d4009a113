"""How much the loop costs beside the bare compiled step, measured side by side.

Rounds are pairs: some batches that lie on the device already are stepped through, and
then, or before, the real loop takes the same batches from the data, reads metrics, logs
and shows progress. Which of the two comes first alternates, and the ratio is taken
within each pair, so that a machine whose speed drifts is not mistaken for a slow loop.

What starts once is told too: from the config to the first step with nothing compiled
beforehand, compilation, checkpoints, memory (`step_costs.py`).
"""

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

from mdm.evaluation import step_costs
from mdm.training import loop
from mdm.training.clock import Clock
from mdm.training.hardware import describe_hardware
from mdm.training.plan import Plan
from mdm.training.state import State
from mdm.training.stopping import StopRequest

LOOP_BUCKETS = ("step", "data", "log")
Resident = Sequence[dict[str, jax.Array]]
Pairs = list[tuple[float, float]]


def bench_step(
  cfg: ml_collections.ConfigDict, workdir: str | Path, *, steps: int, rounds: int
) -> dict[str, Any]:
  """Numbers of a config's step and loop, and the times of each pair they come from.

  Args:
    cfg: what to train.
    workdir: an empty folder for the run.
    steps: steps of each half of a pair.
    rounds: pairs.
  """
  began = time.perf_counter()
  run = loop.prepare_run(cfg, workdir, evaluators={}, clock=Clock())
  try:
    with jax.set_mesh(run.mesh), StopRequest() as stop:
      _, numbers, pairs = bench_run(run, stop, began, steps=steps, rounds=rounds)
  finally:
    run.checkpoints.close()
  numbers |= step_costs.peak_share(
    numbers["step/products_gflop"], numbers["bare/step_s"], cfg.dtype
  )
  return {
    "numbers": step_costs.plain(numbers),
    "pairs": pairs,
    "config": cfg.to_dict(),
    "hardware": describe_hardware(),
  }


def bench_run(
  run: loop.Run, stop: StopRequest, began: float, *, steps: int, rounds: int
) -> tuple[State, dict[str, Any], Pairs]:
  """The state in the end, numbers and pairs of a run that was prepared just now.

  Args:
    run: of which nothing was compiled; its mesh is set.
    stop: ends it early.
    began: when its preparation began, by `time.perf_counter`.
    steps: steps of each half of a pair.
    rounds: pairs.
  """
  numbers: dict[str, Any] = {"start/prepare_s": time.perf_counter() - began}
  step: Any = run.step
  with step_costs.nothing_compiled():
    state = jax.block_until_ready(run.make_state())
    (batch,) = _draw(run, 0, 1)
    numbers |= step_costs.compile_costs(step, state, batch)
    state, _ = _bare_steps(run, state, [batch])
    numbers["start/first_step_s"] = time.perf_counter() - began
  state, pairs = time_pairs(run, state, stop, steps=steps, rounds=rounds)
  numbers |= summarise(pairs, int(run.train.batch))
  saved = step_costs.checkpoint_costs(run, state, rounds=min(rounds, 5))
  every = run.plan.checkpoint_every or run.plan.steps
  between = every * numbers["bare/step_s"]
  saved["checkpoint/share"] = saved["checkpoint/blocks_s"] / between
  numbers |= saved
  numbers["memory/peak_mib"] = step_costs.peak_memory_mib()
  return state, numbers, pairs


def time_pairs(
  run: loop.Run, state: State, stop: StopRequest, *, steps: int, rounds: int
) -> tuple[State, Pairs]:
  """Seconds per bare step and per step of the loop on the same batches, per pair."""
  pairs: Pairs = []
  for number in range(rounds + 1):
    first = number * (steps + 1)
    resident = _draw(run, first, steps + 1)
    if number == 0:
      state, _ = _bare_steps(run, state, resident)  # compiles, warms up
      continue
    state = _meet_shapes(run, state, resident)
    spent = {}
    for kind in ("bare", "loop") if number % 2 else ("loop", "bare"):
      if kind == "bare":
        state, seconds = _bare_steps(run, state, resident[1:])
      else:
        state, seconds = _loop_steps(run, state, stop, first, steps + 1)
      spent[kind] = seconds / steps
    pairs.append((spent["bare"], spent["loop"]))
  return state, pairs


def summarise(pairs: Pairs, batch: int) -> dict[str, float]:
  """Medians over the pairs, and the spread of their ratios."""
  bare, full = ([pair[k] for pair in pairs] for k in (0, 1))
  ratios = [b / a for a, b in pairs]
  return {
    "bare/step_s": statistics.median(bare),
    "bare/step_min_s": min(bare),
    "bare/step_max_s": max(bare),
    "loop/step_s": statistics.median(full),
    "loop/step_min_s": min(full),
    "loop/step_max_s": max(full),
    "loop/examples_per_s": batch / statistics.median(full),
    "loop/over_bare": statistics.median(ratios),
    "loop/over_bare_min": min(ratios),
    "loop/over_bare_max": max(ratios),
    "loop/over_bare_of_medians": statistics.median(full) / statistics.median(bare),
  }


def _draw(run: loop.Run, first: int, count: int) -> Resident:
  """Batches from a step on, on the devices."""
  batches = run.feed.batches(first)
  return jax.block_until_ready([loop.draw_batch(run, batches) for _ in range(count)])


def _meet_shapes(run: loop.Run, state: State, batches: Resident) -> State:
  """Steps once through each shape of batch, so that none is compiled in a pair."""
  shapes = {tuple(x.shape for x in batch.values()): batch for batch in batches}
  return _bare_steps(run, state, list(shapes.values()))[0]


def _bare_steps(run: loop.Run, state: State, batches: Resident) -> tuple[State, float]:
  """The state after a step on each batch, and the seconds that took."""
  began = time.perf_counter()
  for batch in batches:
    state, metrics = run.step(state, batch)
  jax.block_until_ready((state, metrics))
  return state, time.perf_counter() - began


def _loop_steps(
  run: loop.Run, state: State, stop: StopRequest, first: int, steps: int
) -> tuple[State, float]:
  """The loop's own time for `steps` steps after its first, which counts as start-up.

  Args:
    first: number of the first batch.
  """
  start = int(state.step)
  every = run.plan.log_every
  plan = Plan(start + steps, log_every=every, eval_every=0, checkpoint_every=0)
  feed = dataclasses.replace(
    run.feed, batches=lambda step: run.feed.batches(step - start + first)
  )
  segment = dataclasses.replace(run, plan=plan, feed=feed, clock=Clock())
  state, _ = loop.take_steps(segment, state, stop)
  times = segment.clock.report()
  return state, sum(times[f"time/{bucket}_s"] for bucket in LOOP_BUCKETS)
