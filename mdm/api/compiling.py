"""A config's training step compiled for devices that need not be there."""

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import ml_collections

from mdm.api import compile_samplers
from mdm.evaluation.flops import count_flops
from mdm.masks.choices import check_choice
from mdm.training import config, lowering
from mdm.training.chips import GIB, find_chip
from mdm.training.compiling import PlannedConfig, bytes_per_device, plan_config
from mdm.training.forecast import (
  Forecast,
  check_fits,
  describe,
  forecast,
  raise_if_over,
)
from mdm.training.lowering import Lowered
from mdm.training.state import leaf_paths
from mdm.training.topology import describe_tpus

WHATS = ("step", "sample")
_EXCEEDED = re.compile(r"temporaries \(([\d.]+)G\) exceeds available HBM \(([\d.]+)G\)")


class Parameter(NamedTuple):
  """Where one parameter lies.

  Attributes:
    path: its name.
    shape: of the whole array.
    names: of its axes, by which the rules know them.
    spec: the mesh axes that cut each of its axes.
    bytes: on one device.
  """

  path: str
  shape: tuple[int, ...]
  names: str
  spec: str
  bytes: int


class Compiled(NamedTuple):
  """What is known of a compiled step.

  Attributes:
    forecast: what each device needs, and the times at best.
    parameters: where each lies.
    batch: shape and dtype of each entry.
    topology: the TPUs that it was compiled for; None for CPU devices.
  """

  forecast: Forecast
  parameters: list[Parameter]
  batch: dict[str, str]
  topology: str | None = None

  def describe(self, *, table: bool = False) -> list[str]:
    """Lines for people; with a table of the parameters."""
    entries = ", ".join(f"{name} {shape}" for name, shape in self.batch.items())
    lines = [f"batch: {entries}", *describe(self.forecast)]
    if table:
      width = max(len(p.path) for p in self.parameters)
      lines += [
        f"  {p.path:{width}}  {_shape(p.shape):24} {p.names:32} {p.spec:32}"
        f" {p.bytes:>14,}"
        for p in self.parameters
      ]
    return lines

  def to_json(self) -> dict[str, Any]:
    """The same as plain types."""
    rows = [p._asdict() for p in self.parameters]
    own = {"table": rows, "batch": self.batch, "topology": self.topology}
    return {**self.forecast.to_json(), **own}


def compile_config(
  path: str | Path,
  *,
  devices: int | None = None,
  topology: str | None = None,
  chip: str | None = None,
  overrides: Iterable[str] = (),
  checks: bool = True,
  what: str = "step",
  rows: int | None = None,
) -> Compiled:
  """Lowers and compiles a config's training step; nothing is allocated or read.

  Args:
    path: the config.
    devices: how many CPU devices stand for accelerators; None for those there are.
    topology: TPUs to compile for by their own compiler: "v5e:4x4", "v5p:4x4x8", or
      several slices of them, "2*v5e:16x16".
    chip: whose memory and rates are meant where CPU devices stand for it, as "h100".
    overrides: settings, section.key=value.
    checks: False to tell also of a step for which a device's memory is too small; a
      TPU's own compiler refuses it all the same.
    what: "step", or "sample": what the trained model is asked for.
    rows: of what is sampled, at once, over all devices; None for one to each.

  Raises:
    ValueError: no such config, topology or chip; a method that has nothing to sample; a
      setting or the mesh does not fit the devices; a large parameter is whole on every
      device against the rules; the step needs more memory than a device has.
  """
  check_choice("what", what, WHATS)
  if rows is not None and what != "sample":
    raise ValueError(
      f"--rows {rows} is of what is sampled; set train.batch, or add --what sample."
    )
  cfg = config.load(path, list(overrides))
  kind = chip or (topology or "").partition(":")[0]
  named = find_chip(kind) if kind else None
  planned = plan_config(cfg, make_batch(cfg), devices=find_devices(devices, topology))
  axes = {name: int(size) for name, size in planned.mesh.shape.items()}
  try:
    if what == "sample":
      sampler = compile_samplers.plan_sampler(cfg, planned, rows)
      compiled, flops, loops = compile_samplers.compile_sampler(planned, sampler)
    else:
      compiled, flops, loops = planned.compile(), _flops(planned), False
  except jax.errors.JaxRuntimeError as error:
    _refuse(error, planned, cfg.train.accumulate)
  told = forecast(compiled, axes, flops, named, loops=loops)
  if checks and topology is None:  # a TPU's own compiler refuses what does not fit
    check_fits(told, accumulate=cfg.train.accumulate)
  entries = {name: f"{x.dtype}{list(x.shape)}" for name, x in compiled.batch.items()}
  return Compiled(told, _table(planned), entries, topology)


def lower_config(
  path: str | Path,
  platform: str,
  *,
  devices: int | None = None,
  overrides: Iterable[str] = (),
) -> Lowered:
  """Lowers a config's training step for a platform that need not be there.

  Args:
    path: the config.
    platform: "tpu" or "cuda"; nothing of it need be installed.
    devices: how many; None for as many as there are here.
    overrides: settings, section.key=value.

  Raises:
    ValueError: no such config or platform; a setting or the mesh does not fit.
  """
  cfg, found = config.load(path, list(overrides)), find_devices(devices, None)
  return lowering.lower_config(cfg, make_batch(cfg), platform, devices=found)


def make_batch(cfg: ml_collections.ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of a config's training batch.

  Raises:
    ValueError: they depend on the data.
  """
  from mdm.data import datasets

  shapes = datasets.batch_shapes(cfg.data.to_dict(), cfg.train.batch)
  return {name: jax.ShapeDtypeStruct(*entry) for name, entry in shapes.items()}


def find_devices(
  devices: int | None, topology: str | None
) -> Sequence[jax.Device] | None:
  """The devices that are asked for; None for those of this machine.

  Raises:
    ValueError: both are given, or there are none such.
  """
  if topology is not None and devices is not None:
    raise ValueError(
      f"--topology {topology} has its own devices; leave out --devices {devices}."
    )
  if topology is not None:
    return describe_tpus(topology)
  return None if devices is None else _virtual_devices(devices)


def _virtual_devices(count: int) -> Sequence[jax.Device]:
  """So many CPU devices, made if JAX has not looked for devices yet."""
  if count < 1:
    raise ValueError(f"--devices {count} must be 1 or more.")
  with contextlib.suppress(RuntimeError):  # of a JAX that runs already
    if count > getattr(jax.config, "jax_num_cpu_devices"):  # noqa: B009  untyped
      jax.config.update("jax_num_cpu_devices", count)
  there = jax.devices("cpu")
  if len(there) < count:
    raise ValueError(
      f"--devices {count} is more than the {len(there)} CPU devices of this process; "
      f"start it with JAX_NUM_CPU_DEVICES={count}."
    )
  return there[:count]


def _flops(planned: PlannedConfig) -> float:
  """FLOPs of all devices' products; NaN where loops turn by data."""
  step, seed = planned.planned.step, jax.ShapeDtypeStruct((), jnp.uint32)
  try:
    with jax.set_mesh(planned.mesh):
      state = planned.planned.abstract_state
      return count_flops(step.jitted, state, planned.batch, seed)
  except ValueError:
    return float("nan")


def _table(planned: PlannedConfig) -> list[Parameter]:
  """Where each parameter lies, in the order of their names."""
  rows = []
  step = planned.planned
  for path, leaf in leaf_paths(step.abstract_state.params).items():
    names = " x ".join(str(name) for name in step.names[path])
    spec = " x ".join(
      "+".join(axes) if isinstance(axes, tuple) else str(axes)
      for axes in leaf.sharding.spec
    )
    rows.append(
      Parameter(path, leaf.shape, names, spec or "whole", bytes_per_device(leaf))
    )
  return rows


def _refuse(error: Exception, planned: PlannedConfig, accumulate: int) -> NoReturn:
  """Raises the compiler's refusal of a program as a ValueError.

  The TPU compiler tells how much its temporaries are and how much there is.
  """
  if match := _EXCEEDED.search(str(error)):
    temporary, capacity = (int(float(n) * GIB) for n in match.groups())
    total = planned.memory["state"] + planned.memory["batch"] + temporary
    memory = {**planned.memory, "temporary": temporary, "total": total}
    raise_if_over(memory, capacity, planned.mesh.size, accumulate=accumulate)
  first = str(error).splitlines()[0]
  raise ValueError(f"the step does not compile: {first}") from None


def _shape(shape: tuple[int, ...]) -> str:
  """8 x 128."""
  return " x ".join(map(str, shape)) or "scalar"
