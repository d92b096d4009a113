"""What a training step costs beside its time: compilation, memory, checkpoints.

A share of the peak is that of a step's products alone, the field's custom. The peak is
the chip's by its data sheet where that is known (`training/chips.py`), else the best
rate that products reach on this machine.
"""

import contextlib
import dataclasses
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from mdm.evaluation.attention.entrants import describe_program
from mdm.evaluation.flops import count_flops
from mdm.evaluation.rates import open_gauge
from mdm.training import loop
from mdm.training.build import compute_dtype
from mdm.training.chips import chip_of_kind
from mdm.training.state import State
from mdm.training.step import TrainStep

MIB = 2**20


@contextlib.contextmanager
def nothing_compiled() -> Iterator[None]:
  """Within, compiled programs are looked for in an empty folder, not in the user's."""
  config: Any = jax.config
  usual = config.jax_compilation_cache_dir
  with tempfile.TemporaryDirectory() as folder:
    try:
      compilation_cache.set_cache_dir(folder)
      compilation_cache.reset_cache()
      yield
    finally:
      config.update("jax_compilation_cache_dir", usual)
      compilation_cache.reset_cache()


def compile_costs(
  step: TrainStep, state: State, batch: Mapping[str, jax.Array]
) -> dict[str, float]:
  """Seconds to trace and compile the step, its memory per device, its products.

  The step must not have been compiled before. The products, of all devices, are NaN
  where loops turn by data.
  """
  began = time.perf_counter()
  program = step.lower(state, batch).compile()
  spent = time.perf_counter() - began
  try:
    products = count_flops(step.jitted, state, batch, step.seed)
  except ValueError:
    products = math.nan
  return {
    "compile/step_s": spent,
    "memory/step_mib": describe_program(program)["memory_mib"],
    "step/products_gflop": products / 1e9,
  }


def checkpoint_costs(run: loop.Run, state: State, *, rounds: int) -> dict[str, float]:
  """What saving takes: how long the loop waits, how long until it is on disk, its size.

  The state is saved again and again as if it were another step's.
  """
  blocked, written = [], []
  for number in range(rounds + 1):
    step = jax.jit(lambda x: x + 1)(state.step)
    state = dataclasses.replace(state, step=step)
    jax.block_until_ready(state)
    began = time.perf_counter()
    loop.save(run, state)
    returned = time.perf_counter()
    run.checkpoints.wait()
    if number:  # the first compiles the fingerprints
      blocked.append(returned - began)
      written.append(time.perf_counter() - began)
  newest = run.checkpoints.folder / str(run.checkpoints.steps()[-1])
  size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
  return {
    "checkpoint/blocks_s": statistics.median(blocked),
    "checkpoint/writes_s": statistics.median(written),
    "checkpoint/mib": size / MIB,
  }


def peak_memory_mib() -> float:
  """The most that the first device held at once; of a CPU, this process."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" in stats:
    return float(stats["peak_bytes_in_use"]) / MIB
  try:
    import resource
  except ImportError:  # not a POSIX system
    return math.nan
  unit = 1 if sys.platform == "darwin" else 1024
  return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit / MIB


def peak_share(gflop: float, seconds: float, dtype: str) -> dict[str, float]:
  """The share of the devices' peak that a step's products reach, and that peak.

  Args:
    gflop: products of a step, of all devices.
    seconds: of a step.
    dtype: what is computed in, "auto" included.
  """
  is_cpu = jax.default_backend() == "cpu"
  count = 1 if is_cpu else jax.device_count()  # virtual devices share the cores
  chip = chip_of_kind(jax.devices()[0].device_kind)
  if chip is not None and compute_dtype(dtype).name == "bfloat16":
    peak = chip.flops
  else:
    gauge = open_gauge(compute_dtype(dtype).name)
    gauge.measure()
    peak = gauge.rates.flops_per_s
  return {
    "rate/peak_gflop_per_s": count * peak / 1e9,
    "step/peak_share": gflop * 1e9 / seconds / (count * peak),
  }


def plain(numbers: Mapping[str, Any]) -> dict[str, Any]:
  """Numbers, those that are not known as None."""
  return {
    name: None if isinstance(x, float) and math.isnan(x) else x
    for name, x in numbers.items()
  }
