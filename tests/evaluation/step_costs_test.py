"""What a step costs beside its time."""

import math
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from toys import rig

from mdm.evaluation import step_costs
from mdm.evaluation.rates import Gauge, Rates
from mdm.training import sharding


def test_what_is_compiled_within_is_neither_taken_from_the_users_cache_nor_kept(
  tmp_path,
):
  def compile_once():
    jax.jit(lambda x: x * 3.25 + 1).lower(1.0).compile()
    return sum(path.name.startswith("jit__lambda") for path in folder.glob("*-cache"))

  usual = jax.config.jax_compilation_cache_dir
  least = jax.config.jax_persistent_cache_min_compile_time_secs
  jax.config.update("jax_compilation_cache_dir", str(tmp_path))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  compilation_cache.reset_cache()
  try:
    folder = tmp_path
    assert compile_once() == 1
    with step_costs.nothing_compiled():
      folder = Path(jax.config.jax_compilation_cache_dir)
      assert compile_once() == 1
    folder = tmp_path
    assert compile_once() == 1
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
  finally:
    jax.config.update("jax_compilation_cache_dir", usual)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    compilation_cache.reset_cache()


def test_compilation_and_checkpoints_of_a_toy_are_counted(tmp_path):
  run = rig.prepare(tmp_path)
  with jax.set_mesh(run.mesh):
    state = run.make_state()
    batch = sharding.put_batch(run.mesh, next(run.feed.batches(0)))
    found = step_costs.compile_costs(run.step, state, batch)
    found |= step_costs.checkpoint_costs(run, state, rounds=1)
  run.checkpoints.close()
  products = 2 * 16 * 8 * 32 * (2 * 32 + 17)  # two layers and the tied output
  assert products / 1e9 <= found["step/products_gflop"] <= 4 * products / 1e9
  assert found["compile/step_s"] > 0 and found["memory/step_mib"] > 0
  assert 0 < found["checkpoint/blocks_s"] <= found["checkpoint/writes_s"]
  leaves = rig.leaves(state).values()
  assert found["checkpoint/mib"] * 2**20 > 0.5 * sum(leaf.nbytes for leaf in leaves)


def test_a_share_is_of_the_known_peak_in_bfloat16_else_of_what_was_reached(monkeypatch):
  class Device:
    device_kind = "TPU v5 lite"

  monkeypatch.setattr(step_costs.jax, "devices", lambda: [Device()] * 4)
  monkeypatch.setattr(step_costs.jax, "device_count", lambda: 4)
  monkeypatch.setattr(step_costs.jax, "default_backend", lambda: "tpu")
  found = step_costs.peak_share(197e3, 0.5, "auto")
  assert found["step/peak_share"] == pytest.approx(0.5)
  gauge = Gauge(Rates(1e12, 1.0, 1.0, "said"))
  monkeypatch.setattr(step_costs, "open_gauge", lambda dtype: gauge)
  found = step_costs.peak_share(1e3, 0.5, "float32")
  assert found == {"rate/peak_gflop_per_s": 4e3, "step/peak_share": 0.5}
  monkeypatch.setattr(step_costs.jax, "default_backend", lambda: "cpu")
  assert step_costs.peak_share(1e3, 2.0, "float32")["step/peak_share"] == 0.5


def test_the_most_memory_is_told_in_mib():
  assert 50 < step_costs.peak_memory_mib() < 1e6


def test_what_is_not_known_is_null():
  assert step_costs.plain({"a": math.nan, "b": 0.0, "c": 3}) == {
    "a": None, "b": 0.0, "c": 3
  }  # fmt: skip
