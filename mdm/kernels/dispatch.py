"""Which backend runs here, whether chunks pay off, and how large they should be.

Of n tokens, chunks of C read w + C keys for each query and dense attention n. Kernels
skip what is in the future, so that there it is w + C / 2 and n / 2. Chunks win where
n > kappa (w + C), or n / 2 > kappa (w + C / 2), kappa being what small tiles lose.

C is 64 in plain JAX, the fastest that was measured on a CPU for w from 32 to 1024, and
the power of two near 3/4 w, from 128 to 1024, in kernels: between a gather that costs
(w + C) / C rows for each key and keys of its own that a query cannot see yet.
"""

import functools
import importlib
import logging
import math
from types import ModuleType

import jax

BACKENDS = ("auto", "reference", "xla", "tpu", "gpu")
KAPPA = 1.5
CHUNK = 64  # in plain JAX
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
  platform = target_platform()
  native = platform if platform in ("tpu", "gpu") else "xla"
  if name == "auto":
    return native
  if name in ("tpu", "gpu") and name != native:
    raise ValueError(
      f"backend = {name!r} runs on a {name} only and this machine has a {platform}; "
      f"{native!r} or 'auto' would serve."
    )
  return name


def target_platform() -> str:
  """The kind of device that programs are for: "cpu", "gpu", "tpu"."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return jax.default_backend() if device is None else device.platform


def load_backend(name: str) -> ModuleType:
  """The module with `forward` and `backward`; Pallas loads where it is used only."""
  return importlib.import_module(f"mdm.kernels.{name}")


def choose_chunk(
  num_queries: int, width: int, backend: str, num_keys: int | None = None
) -> int | None:
  """Queries per chunk, or None where dense attention is no slower.

  Args:
    num_queries: the last ones of `num_keys` positions (None: all of them).
  """
  n, m = num_queries, num_keys or num_queries
  if backend in ("reference", "xla"):
    chunk, skipped = CHUNK, 0.0
  else:
    power = 2 ** round(math.log2(max(1.0, 0.75 * width)))
    chunk, skipped = min(max(power, 128), 1024), 0.5
  dense = n * (m - skipped * n)
  chunked = -(-n // chunk) * chunk * (width + chunk - skipped * chunk)
  pays = dense > KAPPA * chunked
  _log_once(n, m, width, backend, chunk if pays else None)
  return chunk if pays else None


@functools.cache
def _log_once(n: int, m: int, width: int, backend: str, chunk: int | None) -> None:
  _logger.info(
    "attention of %d queries to at most %d of %d keys on %s: %s",
    *(n, width, m, backend),
    f"chunks of {chunk}" if chunk else "dense, which reads no more than chunks would",
  )
