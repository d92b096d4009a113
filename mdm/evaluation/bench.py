"""How much the loop costs beside the bare compiled step, measured side by side.

Rounds alternate: some steps on one batch that already lies on the device, then as many
steps of the real loop, which draws batches, reads metrics, logs and shows progress.
Medians over the rounds are compared, so that a machine whose speed drifts is not
mistaken for a slow loop.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import jax
import ml_collections

from mdm.training import loop
from mdm.training.clock import Clock
from mdm.training.plan import Plan
from mdm.training.state import State
from mdm.training.stopping import StopRequest

LOOP_BUCKETS = ("step", "data", "log")


def bench_step(
  cfg: ml_collections.ConfigDict, workdir: str | Path, *, steps: int, rounds: int
) -> dict[str, float]:
  """Seconds per bare step and per step of the loop, and their ratio.

  Args:
    cfg: what to train.
    workdir: an empty folder for the run.
    steps: steps per round.
    rounds: rounds of each kind.
  """
  run = loop.prepare_run(cfg, workdir, evaluators={}, clock=Clock())
  bare, full = [], []
  try:
    with jax.set_mesh(run.mesh), StopRequest() as stop:
      state = loop.start_state(run)
      state = _bare_steps(run, state, 2)[0]  # compile before the clock starts
      for _ in range(rounds):
        state, seconds = _bare_steps(run, state, steps)
        bare.append(seconds / steps)
        state, seconds = _loop_steps(run, state, steps + 1, stop)
        full.append(seconds / steps)
  finally:
    run.checkpoints.close()
  ratios = [b / a for a, b in zip(bare, full, strict=True)]
  return {
    "bare/step_s": statistics.median(bare),
    "loop/step_s": statistics.median(full),
    "loop/examples_per_s": run.train.batch / statistics.median(full),
    "loop/over_bare": statistics.median(full) / statistics.median(bare),
    "loop/over_bare_paired": statistics.median(ratios),
  }


def _bare_steps(run: loop.Run, state: State, steps: int) -> tuple[State, float]:
  batch = loop.draw_batch(run, run.feed.batches(0))
  jax.block_until_ready(batch)
  began = time.perf_counter()
  for _ in range(steps):
    state, metrics = run.step(state, batch)
  jax.block_until_ready((state, metrics))
  return state, time.perf_counter() - began


def _loop_steps(
  run: loop.Run, state: State, steps: int, stop: StopRequest
) -> tuple[State, float]:
  """The loop's own time for `steps` steps after its first, which counts as start-up."""
  start = int(state.step)
  every = run.plan.log_every
  plan = Plan(start + steps, log_every=every, eval_every=0, checkpoint_every=0)
  segment = dataclasses.replace(run, plan=plan, clock=Clock())
  state, _ = loop.take_steps(segment, state, stop)
  times = segment.clock.report()
  return state, sum(times[f"time/{bucket}_s"] for bucket in LOOP_BUCKETS)
