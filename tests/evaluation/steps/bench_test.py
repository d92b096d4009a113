"""The step beside PyTorch's. With MDM_TORCH=PYTHON, that interpreter's runs."""

import json
import os
import subprocess

import jax
import numpy as np
import pytest
from toys.steps import SMALL, make_fake

from mdm import cli
from mdm.evaluation.rates import Rates
from mdm.evaluation.steps import bench as step_bench
from mdm.evaluation.steps import mae as step_mae
from mdm.evaluation.steps.problems import Part, find_problem, problem_config
from mdm.training import sharding


@pytest.fixture
def fake(monkeypatch, tmp_path):
  """An interpreter whose PyTorch answers from a list."""
  script, python = make_fake(tmp_path)
  monkeypatch.setattr(step_bench, "SCRIPT", script)
  return python


def run(*args):
  sets = [part for setting in SMALL for part in ("--set", setting)]
  sets += ["--set", "train.batch=8"]
  return cli.main(["bench", "step", "image.mae", *sets, *map(str, args)])


def test_ours_and_theirs_are_timed_in_the_same_rounds(
  fake, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(step_mae, "RATIOS", (0.0, 0.5))
  monkeypatch.setattr(step_bench, "LOOP_ROUNDS", 1)
  path = tmp_path / "bench.json"
  assert run("--rounds", 2, "--vs", "torch", "--torch", fake, "--json", path) == 0
  report = json.loads(path.read_text())
  numbers, times = report["numbers"], report["times"]
  assert {len(spent) for spent in times.values()} == {2}
  assert numbers["torch/step_s"] == 8.0 and numbers["torch/peak_mib"] == 7.0
  assert numbers["torch/step_examples_per_s"] == 1.0
  assert numbers["torch/parameters"] == 8 and numbers["parameters"] > 1_000
  ratios = [4.0 / ours for ours in times["step"]]
  assert np.isclose(numbers["torch/step_fused_over_ours"], np.median(ratios))
  assert numbers["compile/step_s"] > 0 and numbers["encoder/0_over_share"] == 1
  assert 0 < numbers["start/prepare_s"] < numbers["start/first_step_s"]
  assert numbers["loop/step_s"] > 0 and numbers["checkpoint/mib"] > 0
  assert numbers["memory/peak_mib"] > 1 and numbers["bare/step_s"] > 0
  said = capsys.readouterr().out
  assert "PyTorch float32 on cpu" in said and "torch/forward_over_ours" in said


def test_a_peer_needs_an_interpreter_that_has_it(monkeypatch, capsys):
  monkeypatch.setattr("mdm.evaluation.torch_process.has_torch", lambda: False)
  assert run("--vs", "torch") == 1
  assert "give --torch PYTHON" in capsys.readouterr().err


def test_the_loss_is_the_one_that_the_step_reports(tmp_path):
  problem = find_problem("image.mae")
  prepared = step_bench.prepare(
    problem, problem_config(problem, [*SMALL, "train.batch=8"]), tmp_path / "run"
  )
  prepared.checkpoints.close()
  with jax.set_mesh(prepared.mesh):
    state = prepared.make_state()
    batch = sharding.put_batch(prepared.mesh, next(prepared.feed.batches(0)))
    loss = jax.jit(lambda s: step_bench.loss_of(prepared, batch, s.params, s))(state)
    _, metrics = prepared.step(state, batch)
  np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-6)


def test_ratios_are_taken_within_rounds():
  times = {
    "step": [1.0, 2.0, 4.0],
    "torch/step": [2.0, 2.0, 4.0],
    "whole": [1.0, 2.0, 4.0],
    "half": [0.6, 1.2, 2.4],
    "torch/half": [1.2, 3.6, 2.4],
  }
  parts = [Part("whole", 1.0, lambda p, b: p), Part("half", 0.5, lambda p, b: p)]
  numbers = step_bench.summarise(times, parts, batch=6)
  assert numbers["step_s"] == 2.0 and numbers["step_min_s"] == 1.0
  assert numbers["step_examples_per_s"] == 3.0
  assert numbers["torch/step_over_ours"] == 1.0  # medians of 2 and 2 would say so too
  assert np.isclose(numbers["half_over_share"], 1.2)
  assert np.isclose(numbers["torch/half_over_ours"], 2.0)


def test_each_round_goes_through_all_after_one_to_warm_up():
  order = []

  def measure(name):
    order.append(name)
    return float(len(order))

  ours = {name: lambda name=name: measure(name) for name in ("step", "both", "part")}
  kinds = (*step_bench.PEER_KINDS, "part")
  theirs = {k: lambda k=k: measure(f"torch/{k}") for k in kinds}
  times = step_bench.time_rounds(step_bench.interleave(ours, theirs), 2)
  once = ["step", "torch/step", "torch/step_fused", "both", "torch/both"]
  once += ["part", "torch/part"]
  assert order == once * 3 and times["part"] == [13.0, 20.0]


def test_a_step_takes_its_products_and_its_update_at_least():
  numbers = {
    "step/products_gflop": 10.0,
    "parameters": 1e9 / 28,
    "step_s": 5.0,
    "torch/step_s": 6.0,
  }
  found = step_bench.compare_with_floor(numbers, Rates(10e9, 0.5e9, 1.0, "said"))
  assert found["floor_s"] == pytest.approx(1.0 + 2.0)
  assert found["step_peak_share"] == pytest.approx(1 / 5)
  assert found["torch/step_over_floor"] == pytest.approx(2.0)
  assert "torch/step_fused_over_floor" not in found


@pytest.mark.skipif("MDM_TORCH" not in os.environ, reason="MDM_TORCH names no Python")
def test_pytorch_has_the_same_parameters(tmp_path):
  python = os.environ["MDM_TORCH"]
  if subprocess.run([python, "-c", "import transformers"], check=False).returncode:
    pytest.skip("transformers is missing there")
  path = tmp_path / "bench.json"
  assert run("--rounds", 1, "--torch", python, "--json", path) == 0
  numbers = json.loads(path.read_text())["numbers"]
  assert numbers["torch/parameters"] == numbers["parameters"]
  assert numbers["torch/peak_mib"] > 1 and numbers["torch/both_s"] > 0
