"""Which backend runs here, whether chunks pay off, and how large they should be.

Dense attention of n queries costs n / 2 keys each, chunks width + chunk / 2 and the
gathering. Chunks win where n / 2 > kappa (width + chunk / 2), kappa being how much less
efficient small tiles are.
"""

import functools
import importlib
import logging
import math
from types import ModuleType

import jax

BACKENDS = ("auto", "reference", "xla", "tpu", "gpu")
KAPPA = 1.5
_logger = logging.getLogger(__name__)


def choose_backend(name: str) -> str:
  """The backend for `name`; "auto" takes the fastest.

  It is one for the devices of the mesh that `jax.set_mesh` has set, which need not be
  on this machine to be compiled for; without a mesh, for this machine.

  Raises:
    ValueError: an unknown name, or a backend for another kind of device.
  """
  if name not in BACKENDS:
    raise ValueError(f"backend = {name!r} is none of {', '.join(BACKENDS)}.")
  device = jax.sharding.get_abstract_mesh().abstract_device
  platform = jax.default_backend() if device is None else device.platform
  native = platform if platform in ("tpu", "gpu") else "xla"
  if name == "auto":
    return native
  if name in ("tpu", "gpu") and name != native:
    raise ValueError(
      f"backend = {name!r} runs on a {name} only and this machine has a {platform}; "
      f"{native!r} or 'auto' would serve."
    )
  return name


def load_backend(name: str) -> ModuleType:
  """The module with `forward` and `backward`; Pallas loads where it is used only."""
  return importlib.import_module(f"mdm.kernels.{name}")


def choose_chunk(num_queries: int, width: int, backend: str) -> int | None:
  """Queries per chunk, or None where dense attention is no slower."""
  if backend in ("reference", "xla"):
    chunk = 64
  else:
    chunk = min(max(_nearest_power(0.75 * width), 128), 1024)
  pays = num_queries / 2 > KAPPA * (width + chunk / 2)
  _log_once(num_queries, width, chunk, backend, pays)
  return chunk if pays else None


def _nearest_power(x: float) -> int:
  return 2 ** round(math.log2(x))


@functools.cache
def _log_once(
  num_queries: int, width: int, chunk: int, backend: str, pays: bool
) -> None:
  _logger.info(
    "attention of %d queries, %d keys each, on %s: %s, as n / 2 %s %g (w + C / 2)",
    *(num_queries, width, backend),
    f"chunks of {chunk}" if pays else "dense under the same mask",
    *(">" if pays else "<=", KAPPA),
  )
