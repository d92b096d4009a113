"""Parts of a training without its loop, on any mesh, each compiled once."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from mdm.training import compiling, loop, sharding
from mdm.training.clock import Clock
from mdm.training.optimizer import make_optimizer, make_schedule
from mdm.training.settings import Optimizer, Sharding
from mdm.training.state import leaf_paths
from mdm.training.step import StepSettings, TrainStep, make_train_step
from toys import masked

TESTS = Path(__file__).parents[1]
SGD = Optimizer(name="sgd", learning_rate=0.1, schedule="constant", warmup=0,
                weight_decay=0.0, clip=0.0)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Rig:
  """A compiled step, what it starts from and where it runs."""

  mesh: Mesh
  method: masked.ToyMasked
  optimizer: object
  make_state: object
  abstract: object
  step: object
  batch: int

  def feed(self, number: int):
    return self.put(masked.make_batch(number, self.batch))

  def put(self, rows):
    return sharding.put_batch(self.mesh, rows)

  def run(self, steps: int, state=None):
    """State and metrics after some steps."""
    with jax.set_mesh(self.mesh):
      state = self.make_state() if state is None else state
      metrics = None
      for number in range(int(state.step), int(state.step) + steps):
        state, metrics = self.step(state, self.feed(number))
    return state, metrics


@functools.cache
def make_rig(
  *,
  devices: int = 1,
  shape: tuple[int, ...] = (1, 1, 1),
  preset: str = "dp",
  optimizer: Optimizer = SGD,
  method: masked.ToyMasked | None = None,
  settings: StepSettings | None = None,
  batch: int = 16,
) -> Rig:
  """A rig; `shape` gives the devices along data, fsdp, tensor and sequence."""
  settings = settings or StepSettings()
  method = method or masked.ToyMasked(masked.Mixer())
  cfg = Sharding(preset, *shape)
  mesh = sharding.make_mesh(cfg, jax.devices()[:devices])
  schedule = make_schedule(optimizer, steps=20, epoch=10)
  tx = make_optimizer(optimizer, schedule, method.trainable)
  abstract, make_state, _ = compiling.plan_state(
    method, tx, masked.make_feed(batch), mesh=mesh, preset=preset, seed=settings.seed,
    ema=settings.ema,
  )  # fmt: skip
  step = TrainStep(
    make_train_step(method, tx, schedule, settings),
    jax.tree.map(lambda x: x.sharding, abstract),
    seed=settings.seed,
  )
  return Rig(mesh, method, tx, make_state, abstract, step, batch)


def prepare(workdir: Path, cfg=None, **feed):
  """A prepared run of the toy in a folder."""
  cfg = cfg or masked.get_config().lock()
  source = masked.make_feed(cfg.train.batch, **feed)
  return loop.prepare_run(cfg, workdir, feed=source, evaluators={}, clock=Clock())


def saved(workdir: Path, step: int | None = None):
  """The state saved in a folder, as NumPy arrays by path, and its step."""
  run = prepare(workdir)
  try:
    state = run.checkpoints.restore(run.abstract_state, step)
  finally:
    run.checkpoints.close()
  return leaves(state)


def leaves(state) -> dict[str, np.ndarray]:
  """A copy of a tree's leaves, by path."""
  return {name: np.array(leaf) for name, leaf in leaf_paths(state).items()}


def differing(a: dict, b: dict) -> list[str]:
  """Names of leaves that are not the same bit for bit."""
  assert a.keys() == b.keys()
  same = {n: a[n].dtype == b[n].dtype and a[n].tobytes() == b[n].tobytes() for n in a}
  return [name for name, equal in same.items() if not equal]


def command(workdir: Path, *options: str) -> list[str]:
  return [sys.executable, "-m", "toys.run", str(workdir), *options]


def start(workdir: Path, *options: str, cache: Path | None = None) -> subprocess.Popen:
  """The toy's training in a new process, which keeps every compiled program."""
  env = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  if cache:
    env["JAX_COMPILATION_CACHE_DIR"] = str(cache)
  return subprocess.Popen(
    command(workdir, *options), env=env, text=True, cwd=TESTS,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
  )  # fmt: skip


def finish(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
  """Exit status and output; the process is killed if it takes too long."""
  try:
    out, err = process.communicate(timeout=seconds)
  finally:
    process.kill()
  return process.returncode, out, err
