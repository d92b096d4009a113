"""mdm: everything done with a mask, in JAX.

The names below are loaded when first used, so that `import mdm` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
  "evaluate",
  "export",
  "import_weights",
  "load",
  "predict",
  "sample",
  "score",
  "train",
]


def __getattr__(name: str) -> Any:
  if name in __all__:
    return getattr(importlib.import_module("mdm.api"), name)
  raise AttributeError(f"module 'mdm' has no attribute {name!r}")
