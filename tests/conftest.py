"""Eight virtual devices, shapes checked, compiled programs kept between runs.

The environment is set before anything imports jax. Shape checking comes from the test
command (`--jaxtyping-packages`), so that the package itself depends on no checker.
"""

import os
import tempfile
from pathlib import Path

CACHE = Path(tempfile.gettempdir()) / f"mdm-test-cache-{os.getuid()}"

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
