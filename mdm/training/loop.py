"""The training loop: prepare, start or resume, step, finish. It knows no paper.

The order inside a step matters and is this: dispatch step k; while it runs, draw batch
k+1 and send it to the devices, then read the metrics of step k-1 and stop if they are
not finite; then log, evaluate, save. A state is saved only after its own metrics were
found finite. A batch is a function of the step, whose number is the whole position in
the data: that one was drawn already leaves no trace.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from mdm.methods.base import Method
from mdm.training import build, settings, sharding
from mdm.training.ahead import Ahead
from mdm.training.alarms import AlarmError, Alarms
from mdm.training.checkpoint import (
  Checkpoints,
  has_checkpoints,
  open_checkpoints,
  versions,
)
from mdm.training.clock import Clock, add_stretches, read_times
from mdm.training.compiling import plan_step, read_settings
from mdm.training.feed import DataError, Feed, check_facts, make_feed
from mdm.training.hardware import describe_hardware
from mdm.training.illustrated import Illustrated
from mdm.training.origin import Origin, read_origin
from mdm.training.plan import Plan
from mdm.training.processes import agreed, bring_home, gather, is_first, own_mesh
from mdm.training.profiling import Profile
from mdm.training.progress import Progress
from mdm.training.state import State
from mdm.training.step import Metrics
from mdm.training.stopping import StopRequest
from mdm.training.workdir import claim_workdir, hold_workdir
from mdm.training.writers import Writer, open_writers

Variables = dict[str, Any]
Evaluator = Callable[[Variables], Mapping[str, float]]
GOODPUT = "goodput.json"


class NonFiniteError(RuntimeError):
  """A metric became NaN or infinite."""

  def __init__(self, step: int, metric: str, value: float, saved: int | None) -> None:
    self.step, self.metric, self.value, self.saved = step, metric, value, saved
    kept = f"checkpoint of step {saved} is kept" if saved else "no checkpoint yet"
    super().__init__(
      f"{metric} = {value} at step {step}; {kept}. Run the same command again with "
      "--set train.on_nan=skip, or start anew in another --workdir with a lower "
      "optimizer.learning_rate."
    )


MET_BY_ALL = (NonFiniteError, AlarmError)  # processes, at the same step


@dataclasses.dataclass(frozen=True)
class Run:
  """Everything that is fixed before the first step."""

  cfg: ml_collections.ConfigDict
  workdir: Path
  plan: Plan
  train: settings.Train
  feed: Feed
  method: Method
  mesh: Mesh
  step: Callable[[State, dict[str, jax.Array]], tuple[State, Metrics]]
  make_state: Callable[[], State]
  abstract_state: State
  checkpoints: Checkpoints
  evaluators: Mapping[str, Evaluator]
  clock: Clock
  origin: Origin | None = None
  is_profiled: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a training ended.

  Attributes:
    state: the last state.
    metrics: metrics of the last step and the last evaluations.
    stopped: the signal that asked it to stop, or None if it ran to its end.
    times: seconds per bucket and goodput, of this stretch and of all.
    left_out: training examples that were not used, by reason.
  """

  state: State
  metrics: dict[str, float]
  stopped: int | None
  times: dict[str, float]
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


def train(
  cfg: ml_collections.ConfigDict,
  workdir: str | Path,
  *,
  feed: Feed | None = None,
  evaluators: Mapping[str, Evaluator] | None = None,
  clock: Clock | None = None,
  is_profiled: bool = False,
) -> Outcome:
  """Trains what a config describes; the same call again resumes, bit for bit.

  Args:
    cfg: the whole config.
    workdir: folder of the run: config, metrics, checkpoints.
    feed: batches, if not those of `config.data`.
    evaluators: functions of the variables whose numbers are logged by their name.
    clock: runs already; None for one that begins now.
    is_profiled: whether some steps are traced, see `profiling.py`.

  Raises:
    ValueError: a setting is wrong, or the folder belongs to another config or to a
      training that runs.
    NonFiniteError: a metric was not finite and `train.on_nan` is "stop".
    AlarmError: a metric was alarming and `train.on_alarm` is "stop".
    CheckpointError: a checkpoint could not be written or read.
    PeerError: another process met an error while they prepared or evaluated.
  """
  clock = Clock() if clock is None else clock
  run = prepare_run(cfg, workdir, feed=feed, evaluators=evaluators or {}, clock=clock)
  run = dataclasses.replace(run, is_profiled=is_profiled)
  try:
    with hold_workdir(run.workdir), jax.set_mesh(run.mesh), StopRequest() as stop:
      state, metrics = take_steps(run, start_state(run), stop)
      return finish(run, state, metrics, stop)
  except BaseException as error:
    if jax.process_count() == 1 or isinstance(error, MET_BY_ALL):
      run.checkpoints.close()  # else it would wait for a process that may be gone
    raise


def prepare_run(
  cfg: ml_collections.ConfigDict,
  workdir: str | Path,
  *,
  feed: Feed | None = None,
  evaluators: Mapping[str, Evaluator],
  clock: Clock,
) -> Run:
  """Checks the config and builds what it names; nothing is compiled yet."""
  with agreed():
    sections = read_settings(cfg)
    method = build.build_method(cfg)
    origin = read_origin(cfg.init.to_dict())
    feed = make_feed(cfg) if feed is None else feed
    check_facts(method, feed.facts)
    planned = plan_step(method, feed, sections, seed=cfg.seed)
  if origin and not gather("some" if has_checkpoints(workdir) else "")[0]:
    origin.check(planned.abstract_state)
  folder = claim_workdir(cfg, workdir, feed.files)
  return Run(
    cfg=cfg, workdir=folder, plan=planned.plan, train=sections[0], feed=feed,
    method=method, mesh=sections[-1], step=planned.step, make_state=planned.make_state,
    abstract_state=planned.abstract_state,
    checkpoints=open_checkpoints(folder, sections[0].keep), evaluators=evaluators,
    clock=clock, origin=origin,
  )  # fmt: skip


def start_state(run: Run) -> State:
  """The newest saved state, or a fresh one, with the parameters that `init` names."""
  with run.clock.within("checkpoint"):
    if run.train.on_corrupt == "previous":
      state = run.checkpoints.restore_newest_sound(run.abstract_state)
    else:
      has_any = bool(run.checkpoints.steps())
      state = run.checkpoints.restore(run.abstract_state) if has_any else None
  if state is not None:
    return state
  with run.clock.within("compile"):
    state = jax.block_until_ready(run.make_state())
  if run.origin is None:
    return state
  with run.clock.within("start"):
    return jax.block_until_ready(run.origin.apply(state, run.workdir))


def take_steps(
  run: Run, state: State, stop: StopRequest
) -> tuple[State, dict[str, float]]:
  """Steps until the plan's end or until asked to stop; the state and last numbers."""
  start = int(state.step)
  progress = Progress(run.plan.steps, start, is_silent=not is_first())
  writers = listen(run, start, progress.tell)
  ahead, profile = look_ahead(run, start), open_profile(run, start, progress.tell)
  pending: Metrics = {}
  last: dict[str, float] = {}
  step = start
  try:
    while step < run.plan.steps and not stop.is_due(step):
      batch = ahead.take()
      with run.clock.within("step" if step > start else "compile"):
        with profile.step(step + 1, pending), jax.transfer_guard("disallow"):
          state, metrics = run.step(state, batch)
        ahead.look(metrics)
        if step == start:
          jax.block_until_ready(metrics)
        if pending:
          progress.update(step, check_finite(run, step, pending)["loss"])
      pending, step = metrics, step + 1
      profile.after(step, metrics)
      last |= after_step(run, state, step, metrics, writers)
    if step < run.plan.steps:
      save_last(run, state, step, pending)
    with run.clock.within("checkpoint"):
      run.checkpoints.wait()
    progress.update(step)
  except DataError as error:
    kept = save_before_error(run, state, step, pending)
    raise DataError(f"{error}{kept}") from error
  finally:
    profile.close()
    progress.close()
    for writer in writers:
      writer.close()
  return state, last


def listen(run: Run, start: int, tell: Callable[[str], None]) -> list[Writer]:
  """All that takes the numbers of this stretch's steps."""
  stops = run.train.on_alarm == "stop"
  alarms = Alarms(run.method, tell, stops=stops)
  return [*open_writers(run.workdir, start), alarms]  # last: an alarming row is kept


def look_ahead(run: Run, start: int) -> Ahead:
  """Batches from a step on, on the devices."""
  batches = run.feed.batches(start)
  return Ahead(lambda: draw_batch(run, batches), run.clock, run.plan.steps - start)


def open_profile(run: Run, start: int, tell: Callable[[str], None]) -> Profile:
  """What traces some of this stretch's steps, or does nothing."""
  steps = range(start + 1, run.plan.steps + 1)
  return Profile(run.workdir, steps, tell, clock=run.clock, is_wanted=run.is_profiled)


def draw_batch(
  run: Run, batches: Iterator[dict[str, np.ndarray]]
) -> dict[str, jax.Array]:
  """The next batch, on the devices; DataError where it cannot be read."""
  try:
    rows = next(batches)
  except (ValueError, OSError) as error:
    raise DataError(str(error)) from error
  return sharding.put_batch(run.mesh, rows)


def after_step(
  run: Run, state: State, step: int, metrics: Metrics, writers: list[Writer]
) -> dict[str, float]:
  """What is due after a step: log, then evaluate, then save. Returns the numbers."""
  found: dict[str, float] = {}
  shown: dict[str, Illustrated] = {}
  due = {what for what in ("log", "eval", "checkpoint") if run.plan.is_due(what, step)}
  if due:
    with run.clock.within("step"):
      values = check_finite(run, step, metrics)
  if "log" in due:
    found |= values
  if "eval" in due:
    with run.clock.within("eval"):
      numbers, shown = evaluate(run, state)
    found |= numbers
  if found:
    with run.clock.within("log"):
      for writer in writers:
        writer.write(step, found)
        show(writer, step, shown)
  if "checkpoint" in due:
    save(run, state)
  return found


def show(writer: Writer, step: int, shown: Mapping[str, Illustrated]) -> None:
  """Hands on the pictures and the sounds of a step's evaluations, if there are any."""
  pictures = {k: one.picture for k, one in shown.items() if one.picture is not None}
  sounds = {
    f"{k}/{name}": s for k, one in shown.items() for name, s in one.sounds.items()
  }
  if pictures:
    writer.draw(step, pictures)
  if sounds:
    writer.play(step, sounds)


def evaluate(run: Run, state: State) -> tuple[dict[str, float], dict[str, Illustrated]]:
  """The numbers of all evaluations, and those that show something beside them.

  Each process asks all questions on its own devices, with the parameters brought there;
  those of the first are everyone's numbers.
  """
  numbers: dict[str, float] = {}
  shown: dict[str, Illustrated] = {}
  variables = bring_home(state.variables(), run.mesh) if run.evaluators else {}
  with agreed(), jax.set_mesh(own_mesh(run.mesh)):
    for name, evaluator in run.evaluators.items():
      found = evaluator(variables)
      numbers |= {f"{name}/{key}": float(value) for key, value in found.items()}
      if isinstance(found, Illustrated):
        shown[name] = found
  return json.loads(gather(json.dumps(numbers))[0]), shown


def check_finite(run: Run, step: int, metrics: Metrics) -> dict[str, float]:
  """A step's metrics as numbers.

  Raises:
    NonFiniteError: the loss or the gradient's norm is not finite, and steps like that
      are not to be skipped.
  """
  values = {name: float(v) for name, v in jax.device_get(metrics).items()}
  if run.train.on_nan == "stop":
    for name in ("loss", "grad/norm"):
      if not math.isfinite(values[name]):
        run.checkpoints.wait()
        saved = run.checkpoints.steps()
        raise NonFiniteError(step, name, values[name], saved[-1] if saved else None)
  return values


def save(run: Run, state: State) -> None:
  """Starts saving the state with the record of where it comes from."""
  with run.clock.within("checkpoint"):
    run.checkpoints.save(
      state,
      {
        "config": run.cfg.to_dict(),
        "versions": versions(),
        "mesh": dict(run.mesh.shape),
        "hardware": describe_hardware(),
      },
    )


def save_last(run: Run, state: State, step: int, metrics: Metrics) -> None:
  """Saves where a training stands that ends early, unless that is saved already."""
  if not metrics or step in run.checkpoints.steps():
    return
  check_finite(run, step, metrics)
  save(run, state)


def save_before_error(run: Run, state: State, step: int, metrics: Metrics) -> str:
  """Saves where data ended a training; a sentence on what is saved.

  One of several processes saves nothing, which it cannot do without the others.
  """
  if not step or jax.process_count() > 1:
    return ""
  save_last(run, state, step, metrics)
  return f" Step {step} is saved; once this is mended, the same command goes on."


def finish(
  run: Run, state: State, metrics: dict[str, float], stop: StopRequest
) -> Outcome:
  """The outcome, its times written to `goodput.json`."""
  with run.clock.within("checkpoint"):
    run.checkpoints.close()
  file = run.workdir / GOODPUT
  times = add_stretches(read_times(file), run.clock.report())
  if is_first():
    file.write_text(json.dumps(times, indent=2))
  return Outcome(state, metrics, stop.signal, times, run.feed.left_out())
