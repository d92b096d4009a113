"""Tiles on an NVIDIA GPU: Hopper's own kernels where they fit, Triton's elsewhere.

mosaic: compute capability 9.0, bfloat16 or float16, one head width of 64 or 128 for
  keys and values, a CUDA runtime that does not miscompile masks.
triton: every other device, dtype and width.
"""

import importlib
import logging
import re
from functools import cache
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.backend import get_backend
from jaxtyping import Array, Float

from mdm.kernels.tiles import Saved, TileGradients, Tiles

KERNELS = ("mosaic", "triton")
DTYPES, WIDTHS = (jnp.bfloat16, jnp.float16), (64, 128)  # of mosaic
HOPPER = re.compile(r"\bG?H(20|100|200|800)\b")  # in names of devices
_logger = logging.getLogger(__name__)


def forward(
  tiles: Tiles, scale: float, *, kernel: str | None = None, interpret: Any = False
) -> tuple[Float[Array, "t r e"], Float[Array, "t r"]]:
  """Results of all rows, and the logarithm of each row's sum, float32.

  Args:
    kernel: "mosaic" or "triton"; None for the faster one on this device.
    interpret: as of the kernel's own call, to run it where there is no GPU.

  Raises:
    ValueError: no GPU here and no kernel named, or tiles that the kernel does not take.
  """
  module = load_kernel(choose_kernel(tiles) if kernel is None else kernel)
  return module.forward(tiles, scale, interpret=interpret)


def backward(
  tiles: Tiles,
  scale: float,
  saved: Saved,
  *,
  kernel: str | None = None,
  interpret: Any = False,
) -> TileGradients:
  """Gradients from what `forward` gave; arguments and errors as there."""
  module = load_kernel(choose_kernel(tiles) if kernel is None else kernel)
  return module.backward(tiles, scale, saved, interpret=interpret)


def load_kernel(name: str) -> ModuleType:
  """The module of a kernel.

  Raises:
    ValueError: an unknown name.
  """
  if name not in KERNELS:
    raise ValueError(f"kernel = {name!r} is none of {', '.join(KERNELS)}.")
  return importlib.import_module(f"mdm.kernels.gpu_{name}")


def choose_kernel(tiles: Tiles) -> str:
  """The kernel that serves these tiles on this machine's GPU.

  Raises:
    ValueError: no GPU here.
  """
  capability, version = _describe_device()
  name = pick_kernel(tiles, capability, version)
  _log_once(name, capability, str(tiles.query.dtype), tiles.query.shape[-1])
  return name


def pick_kernel(tiles: Tiles, capability: str, version: int) -> str:
  """The kernel for these tiles on a device.

  Args:
    capability: of the device, as "9.0".
    version: of the CUDA runtime, as 12_090 for 12.9; 0 if it is unknown.
  """
  widths = {tiles.query.shape[-1], tiles.value.shape[-1]}
  dtype = tiles.query.dtype
  fits = len(widths) == 1 and widths <= set(WIDTHS) and dtype in DTYPES
  # JAX's own causal kernel is refused for these versions: ptxas miscompiles it.
  compiles = not 12_080 <= version < 12_091
  if capability == "9.0" and fits and compiles:
    return "mosaic"
  return "triton"


def _describe_device() -> tuple[str, int]:
  """Compute capability and CUDA runtime of the GPU here, or of the mesh that is set."""
  if jax.default_backend() == "gpu":
    found = re.search(r"cuda (\d+)", get_backend().platform_version)
    capability = str(getattr(jax.devices()[0], "compute_capability", ""))
    return capability, int(found[1]) if found else 0
  device = jax.sharding.get_abstract_mesh().abstract_device
  if device is None or device.platform != "gpu":
    raise ValueError(
      f"backend = 'gpu' needs a GPU and this machine has a {jax.default_backend()}; "
      "'auto' takes the one that serves here."
    )
  return "9.0" if HOPPER.search(device.device_kind) else "", 0


@cache
def _log_once(name: str, capability: str, dtype: str, width: int) -> None:
  """Says which kernel serves."""
  capability = capability or "unknown"
  _logger.info(
    "attention of %s, head width %d, on compute capability %s: the %s kernel",
    *(dtype, width, capability, name),
  )
