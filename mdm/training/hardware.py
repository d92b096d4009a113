"""What a run is computed on, in one line for records and cards."""

import os
import platform
from pathlib import Path

import jax


def describe_hardware() -> str:
  """Cores this process may use, their model, and jax's devices where they are others.

  For example "2 cores of AMD EPYC 7B13" or "8 x TPU v5 lite, 4 cores of ...".
  """
  count = count_cores()
  cores = f"{count} core{'s' * (count != 1)} of {_processor()}"
  devices = jax.devices()
  if devices[0].platform == "cpu":
    return cores
  return f"{len(devices)} x {devices[0].device_kind}, {cores}"


def count_cores() -> int:
  """Cores that this process may use, fewer than the machine's if it is pinned."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _processor() -> str:
  """The processor's name where Linux tells it, else its architecture."""
  try:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []
  names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
  return names[0] if names else platform.machine()
