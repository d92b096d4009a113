"""TPUs that are not there: devices to lower and compile for, from the compiler alone.

The libtpu wheel compiles for a named topology on any machine, with the memory limits
of the real chips, and analyses what it compiled. Nothing can run on such devices.

  devices = describe_tpus("v5e:2x4")
  with jax.set_mesh(make_mesh(cfg.sharding, list(devices))):
    compiled = step.lower(...).compile()  # arguments with shardings on that mesh
"""

import importlib.util
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

CHIPS = ("v4", "v5e", "v5p", "v6e", "tpu7x")
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
