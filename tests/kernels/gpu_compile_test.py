"""The GPU kernels compiled for an H200 that is not there, by CUDA's own assembler.

Needs `jax[cuda12]` or `jax[cuda13]` in the version of JAX, or no more of it than the
packages jax-cuda12-plugin, jax-cuda12-pjrt and nvidia-cuda-nvcc-cu12.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# XLA describes a device so; these are the figures NVIDIA and XLA publish.
H200 = """
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
SCRIPT = f"""
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import causal_intervals

topology = topologies.get_topology_desc(
  "", platform="cuda", target_config='''{H200}''', topology="1x1x1"
)
mesh = jax.sharding.Mesh(np.array(topology.devices), ("data",))
here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
width, dtype = int(sys.argv[1]), sys.argv[2]
x = jax.ShapeDtypeStruct((2, 512, 2, width), dtype, sharding=here)

def loss(query, key, value):
  out, lse = interval_attention(query, key, value, causal_intervals(512))
  return out.astype(jnp.float32).sum() + lse.sum()

with jax.set_mesh(mesh):
  compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(x, x, x).compile()
print(compiled.as_text())
"""


def find_assembler():
  """The folder of ptxas, as a package brings it or on the path."""
  spec = importlib.util.find_spec("nvidia")
  for folder in () if spec is None else spec.submodule_search_locations:
    for found in sorted(Path(folder).glob("*/bin/ptxas")):
      return str(found.parent)
  return shutil.which("ptxas") and str(Path(shutil.which("ptxas")).parent)


def has_plugin():
  if importlib.util.find_spec("jax_plugins") is None:
    return False
  names = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")
  return any(importlib.util.find_spec(name) for name in names)


def compile_for_h200(width, dtype):
  """The compiled program's text, and what the assembler said."""
  env = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # there are no CUDA libraries, and no GPU
    "MOSAIC_GPU_DUMP_PTXAS": "1",
    "PATH": f"{find_assembler()}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": os.pathsep.join(sys.path),
    "XLA_FLAGS": "",
  }
  run = subprocess.run(
    [sys.executable, "-c", SCRIPT, str(width), dtype],
    capture_output=True,
    text=True,
    check=False,
    env=env,
  )
  assert run.returncode == 0, run.stderr[-2000:]
  return run.stdout, run.stdout + run.stderr


pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not has_plugin() or find_assembler() is None,
    reason="needs JAX's CUDA plugin and ptxas",
  ),
]


@pytest.mark.parametrize("width", [64, 128])
def test_hopper_s_kernels_assemble_without_spilling_registers(width):
  text, said = compile_for_h200(width, "bfloat16")
  assert text.count('custom_call_target="mosaic_gpu_v2"') == 3
  assert said.count("0 bytes spill stores, 0 bytes spill loads") == 3
  assert "serialized" not in said  # the assembler's word for products that wait


def test_float32_compiles_by_triton():
  text, _ = compile_for_h200(64, "float32")
  assert "mosaic_gpu" not in text and "triton" in text
