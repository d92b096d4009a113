"""What a compiled step needs of each device, and how long it takes at best.

Three floors, none of which a step can beat: its products at the chip's peak rate, its
memory (state and temporaries read and written once) at the memory's, and what it sends
at the links'. They may go on side by side, so the longest is the step at its best: an
estimate from published rates, and no measurement.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from mdm.training.chips import GIB, Chip
from mdm.training.collectives import Collective, find_collectives, sum_by_axes
from mdm.training.compiling import CompiledStep

ACROSS = "slice"  # the mesh axis, if there is one, that goes over the network


@dataclasses.dataclass(frozen=True)
class Forecast:
  """Of one step; bytes, FLOPs and seconds are those of one device.

  Attributes:
    devices: how many there are.
    parameters: of the model, over all devices.
    memory: bytes by kind, see `CompiledStep`, and "total".
    capacity: bytes that a device has; None if unknown.
    flops: of products; NaN where the data decide them, and no floor of them then.
    traffic: by kind and mesh axes, how many exchanges and bytes sent.
    seconds: "compute", "memory" and "links" at best, and "step", the longest; empty
      where the chip is unknown.
    rates: "examples_per_s" and, of texts, "tokens_per_s" or, of sound, "samples_per_s"
      at best, over all devices; "passes_per_s" of what loops until it is done.
  """

  devices: int
  parameters: int
  memory: Mapping[str, int]
  capacity: int | None
  flops: float
  traffic: Mapping[tuple[str, tuple[str, ...]], tuple[int, float]]
  seconds: Mapping[str, float]
  rates: Mapping[str, float]

  def to_json(self) -> dict[str, Any]:
    """The forecast as plain types."""
    traffic = [
      {"kind": kind, "axes": list(axes), "times": times, "bytes": sent}
      for (kind, axes), (times, sent) in self.traffic.items()
    ]
    return {**dataclasses.asdict(self), "traffic": traffic}


def forecast(
  compiled: CompiledStep,
  axes: Mapping[str, int],
  flops: float,
  chip: Chip | None,
  *,
  loops: bool = False,
) -> Forecast:
  """What a compiled step takes.

  Args:
    compiled: the step.
    axes: names and sizes of the mesh, `mesh.shape`.
    flops: of products of the whole step, over all devices.
    chip: a device; None if its rates are unknown, as a CPU's.
    loops: the program loops until it is done, and all is told of one pass.
  """
  devices = math.prod(axes.values())
  found = find_collectives(compiled.program.as_text() or "", axes)
  memory = dict(compiled.memory)
  memory["total"] = memory["state"] + memory["batch"] + memory["temporary"]
  seconds: dict[str, float] = {}
  rates: dict[str, float] = {}
  if chip is not None:
    seconds = _floors(found, memory, flops / devices, chip)
    rates = _rates(compiled.batch, seconds["step"], loops)
  return Forecast(
    devices=devices,
    parameters=compiled.parameters,
    memory=memory,
    capacity=None if chip is None else int(chip.memory),
    flops=flops / devices,
    traffic=sum_by_axes(found),
    seconds=seconds,
    rates=rates,
  )


def check_fits(found: Forecast, *, accumulate: int) -> None:
  """Raises ValueError where a step needs more memory than a device has.

  The error says how much is missing and what would make it fit: more micro-batches, if
  the state leaves room for temporaries, which are about as many times smaller; else
  more devices for the state.
  """
  if found.capacity is not None:
    raise_if_over(found.memory, found.capacity, found.devices, accumulate=accumulate)


def raise_if_over(
  memory: Mapping[str, int], capacity: int, devices: int, *, accumulate: int
) -> None:
  """The same of bytes of one device: "state", "temporary" and "total"."""
  total, state = memory["total"], memory["state"]
  if total <= capacity:
    return
  room = capacity - state
  if room > capacity // 10:
    times = accumulate * 2 ** math.ceil(math.log2(memory["temporary"] / room))
    remedy = (
      f"train.accumulate={times} makes temporaries about {times // accumulate} times "
      "smaller, remat='full' in the model's blocks too"
    )
  else:
    wanted = devices * 2 ** math.ceil(math.log2(max(state / (0.5 * capacity), 2)))
    remedy = (
      f"the state alone takes {state / GIB:.2f} GiB: cut it over more devices, about "
      f"{wanted} with sharding.preset=fsdp"
    )
  raise ValueError(
    f"the step needs {total / GIB:.2f} GiB of each device where there are "
    f"{capacity / GIB:.2f}, {(total - capacity) / GIB:.2f} too many; {remedy}."
  )


def describe(found: Forecast) -> list[str]:
  """The forecast in lines for people."""
  memory = ", ".join(
    f"{k} {size_of(n)}" for k, n in found.memory.items() if k != "total"
  )
  limit = "" if found.capacity is None else f" of {size_of(found.capacity)}"
  lines = [
    f"{found.parameters:,} parameters on {found.devices} devices; of each device:",
    f"  memory   {size_of(found.memory['total'])}{limit} ({memory})",
    f"  products {_products(found.flops)}",
  ]
  for (kind, axes), (times, sent) in found.traffic.items():
    lines.append(
      f"  sends    {size_of(sent)} by {times} {kind} along {' x '.join(axes)}"
    )
  if found.seconds:
    floors = ", ".join(
      f"{name} {1e3 * s:.3g} ms" for name, s in found.seconds.items() if name != "step"
    )
    rates = ", ".join(
      f"{rate:,.0f} {name.replace('_per_s', '/s')}"
      for name, rate in found.rates.items()
    )
    unit = "a pass" if "passes_per_s" in found.rates else "a step"
    lines.append(f"  at best  {1e3 * found.seconds['step']:.3g} ms {unit} ({floors})")
    lines.append(f"estimate   {rates}")
  return lines


def _products(flops: float) -> str:
  """FLOPs for people."""
  if math.isnan(flops):
    return "not known beforehand: the data decide"
  return f"{flops / 1e9:,.2f} GFLOP"


def _floors(
  found: list[Collective], memory: Mapping[str, int], flops: float, chip: Chip
) -> dict[str, float]:
  """Seconds that products, memory and links take at least; "step" the longest."""
  along: dict[tuple[str, ...], float] = {}
  for one in found:
    along[one.axes] = along.get(one.axes, 0.0) + one.sent
  links = sum(
    sent / (chip.network if ACROSS in axes else chip.link)
    for axes, sent in along.items()
  )
  moved = 2 * (memory["state"] + memory["temporary"]) + memory["batch"]
  floors = {"memory": moved / chip.bandwidth, "links": links}
  if not math.isnan(flops):
    floors = {"compute": flops / chip.flops, **floors}
  return floors | {"step": max(floors.values())}


def _rates(
  batch: Mapping[str, jax.ShapeDtypeStruct], seconds: float, loops: bool
) -> dict[str, float]:
  """What all devices do in a second: examples, tokens of texts, samples of sound."""
  if loops:
    return {"passes_per_s": 1 / seconds}
  rates = {"examples_per_s": next(iter(batch.values())).shape[0] / seconds}
  if "audio" in batch:
    rates["samples_per_s"] = math.prod(batch["audio"].shape) / seconds
  elif "tokens" in batch and "image" not in batch:
    rates["tokens_per_s"] = math.prod(batch["tokens"].shape) / seconds
  return rates


def size_of(count: float | int) -> str:
  """Bytes for people: 12.3 MiB."""
  for unit in ("B", "KiB", "MiB", "GiB"):
    if count < 1024 or unit == "GiB":
      return f"{count:.0f} B" if unit == "B" else f"{count:.2f} {unit}"
    count /= 1024
  raise AssertionError
