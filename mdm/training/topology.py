"""Devices that are not there, to lower and compile for, from the compiler alone.

The libtpu wheel compiles for a named topology of TPUs on any machine, with the memory
limits of the real chips, and analyses what it compiled; JAX's CUDA plugin does so for a
described GPU. Nothing can run on such devices.

  devices = describe_tpus("v5e:2x4")
  with jax.set_mesh(make_mesh(cfg.sharding, list(devices))):
    compiled = step.lower(...).compile()  # arguments with shardings on that mesh
"""

import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

CHIPS = ("v4", "v5e", "v5p", "v6e", "tpu7x")
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
_NAME = re.compile(r"(\w+):(\d+(?:x\d+){1,2})")


def has_libtpu() -> bool:
  """Whether the compiler for TPUs is installed."""
  spec = importlib.util.find_spec("libtpu")
  return spec is not None and spec.origin is not None


def describe_tpus(name: str) -> tuple[jax.Device, ...]:
  """The devices of a topology: one per chip, on tpu7x two.

  Args:
    name: kind of chip and chips along each axis of the torus, two axes for v5e and
      v6e, three for the others: "v5e:2x4", "v6e:16x16", "v5p:8x8x8", "v4:2x2x1".

  Raises:
    ValueError: libtpu is not installed, or there is no such topology.
  """
  match = _NAME.fullmatch(name)
  if match is None or match[1] not in CHIPS:
    raise ValueError(
      f"topology = {name!r} is not a kind of chip and a shape; write one of "
      f"{', '.join(CHIPS)}, a colon and chips per axis, as in v5e:2x4 or v5p:2x2x1."
    )
  if not has_libtpu():
    raise ValueError(
      f"topology = {name!r} needs the compiler for TPUs, which is not installed; "
      "pip install libtpu, of the version that jax[tpu] asks for."
    )
  shape = tuple(int(size) for size in match[2].split("x"))
  # A host has 2 x 2 chips, and fewer only if there are no more.
  host = tuple(min(size, most) for size, most in zip(shape, (2, 2, 1), strict=False))
  # The compiler would look for chips of this machine, and insist on being alone.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  options: dict[str, Any] = {"chips_per_host_bounds": (*host, 1)[:3]}
  if match[1] == "v4":
    options["chip_config_name"] = "megacore"  # both cores as one device
  try:
    topology = topologies.get_topology_desc(name, platform="tpu", **options)
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f"topology = {name!r} is unknown to the installed libtpu: {error}; v5e and v6e "
      "have two axes, the others three, each 1, 2 or a multiple of 2."
    ) from error
  return tuple(topology.devices)


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
