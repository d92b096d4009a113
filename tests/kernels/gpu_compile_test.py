"""The GPU kernels compiled for an H200 that is not there, by CUDA's own assembler.

Needs `jax[cuda12]` or `jax[cuda13]` in the version of JAX, or no more of it than the
packages jax-cuda12-plugin, jax-cuda12-pjrt and nvidia-cuda-nvcc-cu12.
"""

import os
import subprocess
import sys

import pytest

from mdm.training import topology

SCRIPT = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import causal_intervals
from mdm.training.topology import describe_gpu

mesh = jax.sharding.Mesh(np.array([describe_gpu("h200")]), ("data",))
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


def compile_for_h200(width, dtype):
  """The compiled program's text, and what the assembler said."""
  env = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "MOSAIC_GPU_DUMP_PTXAS": "1",
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
    not topology.has_cuda_compiler(),
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
