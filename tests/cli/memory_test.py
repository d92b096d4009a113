"""Memory that the process keeps, seen in processes of their own."""

import subprocess
import sys

import pytest

from mdm.cli import memory

ROUNDS = """
import resource, sys
import jax, jax.numpy as jnp
from mdm.cli.memory import keep_memory
assert sys.argv[1] != "kept" or keep_memory()
program = jax.jit(lambda x: (x @ x.T @ x).sum())
x = jnp.ones((4_000, 100))
for _ in range(4):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  program(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
  """Pages that the fourth run of a program touches for the first time."""
  done = subprocess.run(
    [sys.executable, "-c", ROUNDS, how], capture_output=True, text=True, check=True
  )
  return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of GNU's C library")
def test_a_program_that_runs_again_finds_its_memory_there():
  assert faults("kept") < faults("as it comes") / 10


def test_nothing_is_kept_where_there_is_an_accelerator(monkeypatch):
  monkeypatch.setattr(memory, "ACCELERATORS", ("json",))
  assert not memory.keep_memory()


def test_nothing_is_kept_by_other_systems(monkeypatch):
  monkeypatch.setattr(memory.sys, "platform", "darwin")
  assert not memory.keep_memory()


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
  monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
  assert not memory.keep_memory()
