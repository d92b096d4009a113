"""Devices that are not there, to lower and compile for, from the compiler alone.

The libtpu wheel compiles for a named topology of TPUs on any machine, with the memory
limits of the real chips, and analyses what it compiled; JAX's CUDA plugin does so for a
described GPU. Nothing can run on such devices.

  devices = describe_tpus("v5e:2x4")  # "2*v5e:2x4" for two slices that a network joins
  with jax.set_mesh(make_mesh(cfg.sharding, list(devices))):
    compiled = step.lower(...).compile()  # arguments with shardings on that mesh
"""

import difflib
import importlib.util
import itertools
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

CHIPS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}  # axes of the torus
MOST = {2: 256, 3: 8_192}  # chips of a slice, as many as are worth proposing
# XLA describes a device so; these are the figures that NVIDIA and XLA publish.
GPUS = {
  "h200": """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200"
"""
}
_NAME = re.compile(r"(?:(\d+)\*)?(\w+):(\d+(?:x\d+){1,2})")


def has_libtpu() -> bool:
  """Whether the compiler for TPUs is installed."""
  spec = importlib.util.find_spec("libtpu")
  return spec is not None and spec.origin is not None


def describe_tpus(name: str) -> tuple[jax.Device, ...]:
  """The devices of a topology: one per chip, on tpu7x two.

  Args:
    name: kind of chip and chips along each axis of the torus, two axes for v5e and
      v6e, three for the others: "v5e:2x4", "v6e:16x16", "v5p:8x8x8", "v4:2x2x1"; in
      front of several slices their number, "2*v5e:16x16".

  Raises:
    ValueError: libtpu is not installed, or there is no such topology; the error names
      the nearest that there are.
  """
  slices, kind, shape = read_name(name)
  if not has_libtpu():
    raise ValueError(
      f"topology = {name!r} needs the compiler for TPUs, which is not installed; "
      "pip install libtpu, of the version that jax[tpu] asks for."
    )
  # A host has 2 x 2 chips, and fewer only if there are no more.
  host = tuple(min(size, most) for size, most in zip(shape, (2, 2, 1), strict=False))
  # The compiler would look for chips of this machine, and insist on being alone.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  options: dict[str, Any] = {"chips_per_host_bounds": (*host, 1)[:3]}
  if slices > 1:
    options["num_slices"] = slices
  if kind == "v4":
    options["chip_config_name"] = "megacore"  # both cores as one device
  try:
    topology = topologies.get_topology_desc(
      name.rpartition("*")[2], platform="tpu", **options
    )
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f"topology = {name!r} is unknown to the installed libtpu: {error}."
    ) from error
  return tuple(topology.devices)


def read_name(name: str) -> tuple[int, str, tuple[int, ...]]:
  """Slices, kind of chip, and chips along each axis, of a topology by its name.

  Raises:
    ValueError: it is none; the error names the nearest that there are.
  """
  match = _NAME.fullmatch(name)
  if match is None or match[2] not in CHIPS or match[1] == "0":
    kind = re.sub(r"^\d+\*", "", name).partition(":")[0]
    near = difflib.get_close_matches(kind, CHIPS, n=1, cutoff=0.5)
    hint = f", the nearest kind is {near[0]}" if near and near[0] != kind else ""
    raise ValueError(
      f"topology = {name!r} is not a kind of chip and a shape{hint}; write one of "
      f"{', '.join(CHIPS)}, a colon and chips per axis, as in v5e:2x4 or v5p:2x2x1, "
      "and 2* in front for two slices."
    )
  shape = tuple(int(size) for size in match[3].split("x"))
  axes = CHIPS[match[2]]
  if len(shape) != axes or any(n != 1 and (n < 1 or n % 2) for n in shape):
    near = [f"{match[2]}:{'x'.join(map(str, x))}" for x in _nearest(shape, axes)]
    raise ValueError(
      f"topology = {name!r} does not exist: a {match[2]} has {axes} axes, each of 1, 2 "
      f"or a multiple of 2 chips; the nearest are {', '.join(near)}."
    )
  return int(match[1] or 1), match[2], shape


def _nearest(shape: tuple[int, ...], axes: int) -> list[tuple[int, ...]]:
  """Three shapes of powers of two, nearest to a number of chips and then to a shape."""
  sizes = [2**k for k in range(1, 6)]
  known = [
    x
    for x in itertools.combinations_with_replacement(sizes, axes)
    if math.prod(x) <= MOST[axes] and x[-1] <= 4 * x[0]
  ]
  chips = math.log2(max(math.prod(shape), 1))

  def distance(x: tuple[int, ...]) -> tuple[float, int]:
    """How far the chips are apart, in doublings, and then the sides."""
    sides = zip(sorted(shape), x, strict=False)
    return abs(math.log2(math.prod(x)) - chips), sum(abs(a - b) for a, b in sides)

  return sorted(known, key=distance)[:3]


def find_assembler() -> str | None:
  """The folder of CUDA's assembler, as a package brings it or on the path."""
  spec = importlib.util.find_spec("nvidia")
  folders = () if spec is None else spec.submodule_search_locations or ()
  for folder in folders:
    for found in sorted(Path(folder).glob("*/bin/ptxas")):
      return str(found.parent)
  path = shutil.which("ptxas")
  return None if path is None else str(Path(path).parent)


def has_cuda_compiler() -> bool:
  """Whether JAX's CUDA plugin and CUDA's assembler are installed."""
  if importlib.util.find_spec("jax_plugins") is None or find_assembler() is None:
    return False
  names = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")
  return any(importlib.util.find_spec(name) for name in names)


def describe_gpu(name: str) -> jax.Device:
  """A GPU by name, "h200"; before JAX has looked for devices where there is none.

  Raises:
    ValueError: the compiler for CUDA is not installed, or no such GPU is known.
  """
  if name not in GPUS:
    raise ValueError(f"GPU {name!r} is none of {', '.join(GPUS)}.")
  folder = find_assembler()
  if folder is None or not has_cuda_compiler():
    raise ValueError(
      f"{name} needs the compiler for CUDA, which is not installed; pip install "
      '"jax[cuda12]" in the version of jax.'
    )
  # There may be no driver and no CUDA libraries, which the plugin asks for.
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])
  try:
    topology = topologies.get_topology_desc(
      "", platform="cuda", target_config=GPUS[name], topology="1x1x1"
    )
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f"{name} cannot be described to CUDA's compiler: {error}"
    ) from None
  return topology.devices[0]
