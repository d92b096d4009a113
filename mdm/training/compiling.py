"""A config's training step: planned from shapes, compiled before anything is allocated.

  batch = {"audio": jax.ShapeDtypeStruct((8, 512_000), "float32"), ...}
  compiled = compile_step(cfg, batch)
  compiled.memory["temporary"]  # bytes on each device

It is the step that a training takes. Devices may be virtual (`JAX_NUM_CPU_DEVICES`) or
only described (`topology.py`), and arrays of a billion parameters are never made.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import AbstractDevice, Mesh

from mdm.methods.base import Method
from mdm.training import build, settings, sharding
from mdm.training.feed import Batch, Feed
from mdm.training.keys import Seed, seed_word
from mdm.training.optimizer import (
  make_optimizer,
  make_part_schedules,
  make_schedule,
  make_shares,
  scale_rate,
)
from mdm.training.plan import Plan, make_plan
from mdm.training.sharding import AnyMesh
from mdm.training.state import State, init_state, init_variables
from mdm.training.step import StepSettings, TrainStep, make_train_step

T = TypeVar("T")
Names = dict[str, tuple[str | None, ...]]
Sections = tuple[settings.Train, settings.Optimizer, settings.Sharding, Mesh]
AnySections = tuple[settings.Train, settings.Optimizer, settings.Sharding, AnyMesh]


@dataclasses.dataclass(frozen=True)
class PlannedStep:
  """A step and what it takes, neither compiled nor allocated.

  Attributes:
    plan: when things happen.
    step: the step, jitted.
    make_state: makes a fresh state, in place on the devices.
    abstract_state: its shapes with shardings.
    names: of each parameter's axes, by its path.
  """

  plan: Plan
  step: TrainStep
  make_state: Callable[[], State]
  abstract_state: State
  names: Names


class CompiledStep(NamedTuple):
  """A compiled step, and what each device holds of it.

  Attributes:
    program: what the compiler made.
    planned: what it was made of.
    batch: the batch's shapes with shardings.
    parameters: how many there are, over all devices.
    memory: bytes on each device: "parameters", "optimizer", "state" (both, averages
      and other variables), "batch", and "temporary", what the step needs beside them.
  """

  program: jax.stages.Compiled
  planned: PlannedStep
  batch: dict[str, jax.ShapeDtypeStruct]
  parameters: int
  memory: dict[str, int]


class PlannedConfig(NamedTuple):
  """A config's step before it is compiled; for attributes see `CompiledStep`.

  Attributes:
    mesh: the devices; an `AbstractMesh` where only their kind is known.
    memory: without "temporary", which only the compiler knows.
  """

  planned: PlannedStep
  mesh: Mesh
  batch: dict[str, jax.ShapeDtypeStruct]
  parameters: int
  memory: dict[str, int]

  def compile(self) -> CompiledStep:
    """Lowers and compiles it."""
    step, state = self.planned.step, self.planned.abstract_state
    with jax.set_mesh(self.mesh):
      program = step.lower(state, self.batch).compile()
    needed = count_temporary(program, self.mesh, self.memory)
    memory = {**self.memory, "temporary": needed}
    return CompiledStep(program, self.planned, self.batch, self.parameters, memory)


def read_settings(
  cfg: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None
) -> Sections:
  """The loop's own sections, checked, and the mesh they ask for.

  The learning rate is that of the batch.

  Args:
    devices: of the mesh; None for all.

  Raises:
    ValueError: a setting is unknown, of a wrong type or out of range, or the batch
      does not divide over the devices.
  """

  def section(cls: type[T], name: str) -> T:
    """One section, checked."""
    return build.build_section(cls, cfg[name].to_dict(), name)

  train_cfg = section(settings.Train, "train")
  sharding_cfg = section(settings.Sharding, "sharding")
  mesh = sharding.make_mesh(sharding_cfg, None if devices is None else list(devices))
  sharding.check_batch_divides(mesh, train_cfg.batch, train_cfg.accumulate)
  optimizer_cfg = section(settings.Optimizer, "optimizer")
  for part, changes in optimizer_cfg.parts.items():
    whole = {**cfg.optimizer.to_dict(), "parts": {}, **changes}
    build.build_section(settings.Optimizer, whole, f"optimizer.parts.{part}")
  return train_cfg, scale_rate(optimizer_cfg, train_cfg.batch), sharding_cfg, mesh


def plan_step(
  method: Method,
  feed: Feed,
  sections: AnySections,
  *,
  seed: int,
  share: optax.Schedule | None = None,
) -> PlannedStep:
  """The step of a training.

  Args:
    method: what is trained.
    feed: batches; of the first, shapes and dtypes are looked at.
    sections: see `read_settings`.
    seed: of parameters and of all that is drawn.
    share: of the learning rate at each step, in place of the schedule's.
  """
  train_cfg, optimizer_cfg, sharding_cfg, mesh = sections
  plan = make_plan(train_cfg, feed.epoch)
  if share is None:
    schedule = make_schedule(optimizer_cfg, steps=plan.steps, epoch=feed.epoch)
    parts = make_part_schedules(optimizer_cfg, steps=plan.steps, epoch=feed.epoch)
  else:
    schedule, parts = make_shares(optimizer_cfg, share)
  optimizer = make_optimizer(optimizer_cfg, schedule, method.trainable, parts=parts)
  abstract, make_state, names = plan_state(
    method, optimizer, feed, mesh=mesh, preset=sharding_cfg.preset, seed=seed,
    ema=train_cfg.ema,
  )  # fmt: skip
  placed = jax.tree.map(lambda x: x.sharding, abstract)
  step = make_train_step(
    method,
    optimizer,
    schedule,
    StepSettings(
      seed=seed,
      accumulate=train_cfg.accumulate,
      skips_nan=train_cfg.on_nan == "skip",
      ema=train_cfg.ema,
      steps=plan.steps,
      epoch=feed.epoch,
    ),
    placed.params,
  )
  jitted = TrainStep(step, placed, seed=seed)
  return PlannedStep(plan, jitted, make_state, abstract, names)


def plan_state(
  method: Method,
  optimizer: optax.GradientTransformation,
  feed: Feed,
  *,
  mesh: AnyMesh,
  preset: str,
  seed: int,
  ema: float,
) -> tuple[State, Callable[[], State], Names]:
  """The state's shapes with shardings, the function that makes a fresh one, and names.

  Those are of the axes of each parameter, by its path.

  Raises:
    ValueError: a large parameter would lie whole on every device against the rules.
  """
  first = next(iter(feed.batches(0)))
  rows = jax.process_count()
  shapes = {k: (v.shape[0] * rows, *v.shape[1:]) for k, v in first.items()}
  dtypes = {k: v.dtype for k, v in first.items()}

  def example() -> dict[str, jax.Array]:
    """A batch of zeros, for shapes."""
    return {k: jnp.zeros(shapes[k], dtypes[k]) for k in shapes}

  def make(seed: Seed) -> State:
    """A fresh state."""
    return init_state(method, optimizer, example(), seed=seed, ema=ema)

  abstract = jax.eval_shape(make, seed_word(seed))
  boxed = jax.eval_shape(lambda: init_variables(method, example(), seed))["params"]
  placed = sharding.state_shardings(
    abstract, boxed, optimizer, mesh=mesh, preset=preset
  )
  abstract = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, placed
  )
  jitted, everywhere = jax.jit(make, out_shardings=placed), sharding.replicated(mesh)

  def make_state() -> State:
    """A fresh state in place; the seed is no constant of the program."""
    return jitted(sharding.put_everywhere(everywhere, seed_word(seed)))

  return abstract, make_state, sharding.axis_names(boxed)


def plan_config(
  cfg: ml_collections.ConfigDict,
  batch: Mapping[str, jax.ShapeDtypeStruct],
  *,
  epoch: int = 1,
  devices: Sequence[jax.Device] | None = None,
  kind: AbstractDevice | None = None,
) -> PlannedConfig:
  """What the training step of a config takes, for batches of such shapes.

  Args:
    cfg: the whole config; its data are not read.
    batch: of all devices: shape and dtype by name, `train.batch` rows each.
    epoch: steps of one pass over the data.
    devices: to compile for; None for all there are.
    kind: of device to lower for instead, on as many that need not be there.

  Raises:
    ValueError: a setting is wrong, or the batch has other rows than `train.batch`.
  """
  train_cfg, optimizer_cfg, sharding_cfg, mesh = read_settings(cfg, devices)
  if kind is not None:
    mesh = cast(Mesh, mesh.abstract_mesh.update(abstract_device=kind))
  sections = train_cfg, optimizer_cfg, sharding_cfg, mesh
  for name, shape in batch.items():
    if shape.shape[:1] != (train_cfg.batch,):
      raise ValueError(
        f"{name} of shape {shape.shape} is no batch of train.batch = "
        f"{train_cfg.batch} rows; make both alike."
      )
  along = sharding.batch_sharding(mesh)
  placed = {
    name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=along)
    for name, x in batch.items()
  }
  feed = Feed(lambda start: _hollow(batch), epoch)
  method = build.build_method(cfg, platform_of(mesh))
  planned = plan_step(method, feed, sections, seed=cfg.seed)
  state = planned.abstract_state
  memory = {
    "parameters": bytes_per_device(state.params),
    "optimizer": bytes_per_device(state.opt_state),
    "state": bytes_per_device(state),
    "batch": bytes_per_device(placed),
  }
  count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  return PlannedConfig(planned, mesh, placed, count, memory)


def compile_step(
  cfg: ml_collections.ConfigDict,
  batch: Mapping[str, jax.ShapeDtypeStruct],
  *,
  epoch: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> CompiledStep:
  """Lowers and compiles the training step of a config; see `plan_config`."""
  return plan_config(cfg, batch, epoch=epoch, devices=devices).compile()


def count_temporary(
  program: jax.stages.Compiled, mesh: Mesh, held: Mapping[str, int]
) -> int:
  """Bytes that a device needs beside what a program is given.

  A TPU's compiler tells its peak, in which arrays share a place one after the other;
  its sum of temporaries counts gaps between them and can be more than there is.

  Args:
    program: compiled.
    mesh: what for.
    held: what is given: bytes of "state" and "batch".
  """
  told = program.memory_analysis()
  temporary = int(getattr(told, "temp_size_in_bytes", 0))
  peak = int(getattr(told, "peak_memory_in_bytes", 0))
  if peak and mesh.devices.flat[0].platform == "tpu":
    return max(peak - held["state"] - held["batch"], 0)
  return temporary


def platform_of(mesh: AnyMesh) -> str | None:
  """The kind of device of a mesh: "cpu", "tpu"; None where that is not known."""
  device = mesh.abstract_mesh.abstract_device
  return None if device is None else device.platform


def bytes_per_device(tree: Any) -> int:
  """What one device holds of arrays, or of their shapes, with shardings."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def _hollow(batch: Mapping[str, jax.ShapeDtypeStruct]) -> Iterator[Batch]:
  """Batches of zeros that take no memory, without end."""
  zeros = {
    name: np.broadcast_to(np.zeros((), x.dtype), x.shape) for name, x in batch.items()
  }
  while True:
    yield zeros
