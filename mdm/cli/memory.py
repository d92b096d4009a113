"""How this process keeps memory, where a training runs on a CPU.

XLA asks for a step's memory anew in every step: gigabytes for a large model. The C
library gives and returns it page by page, and each page that is touched for the first
time costs as much as what a step computes in it: a tenth of a step or more. Kept by the
process, freed memory is there for the next step. Settings of `mallopt` of GNU's C
library do that, if they come before other threads do: freed memory is not returned, is
not mapped apart from the rest, and threads share one pool.
"""

import ctypes
import importlib.util
import sys

MMAP_MAX, TRIM_THRESHOLD, ARENA_MAX = -4, -1, -8  # of malloc.h
KEEPING = ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (ARENA_MAX, 1))
ACCELERATORS = ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm7_plugin")


def keep_memory() -> bool:
  """Keeps freed memory with the process; False where that cannot be or does not pay.

  It pays where JAX has no plugin for an accelerator.
  """
  if sys.platform != "linux" or any(map(importlib.util.find_spec, ACCELERATORS)):
    return False
  change = getattr(ctypes.CDLL(None), "mallopt", None)
  return change is not None and all(change(*setting) for setting in KEEPING)
