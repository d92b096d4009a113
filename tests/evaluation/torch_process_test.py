"""The process beside ours. With MDM_TORCH=PYTHON, that interpreter's PyTorch runs."""

import os
import sys

import numpy as np
import pytest

from mdm.evaluation import torch_process
from mdm.evaluation.attention.decoding import open_steps
from mdm.evaluation.attention.entrants import our_entrant
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.problems import draw_problem
from mdm.evaluation.torch_process import TorchProcess, torch_python

CASE = Case(1, 4, 2, 70, 16, 9)
FAKE = """
import json, sys
import numpy as np
for line in sys.stdin:
  asked = json.loads(line)
  if "load" in asked:
    arrays = np.load(asked["load"])
    names = asked["names"]
    print(json.dumps({
      "version": "0", "device": "cpu", "failed": {"flex": "no compiler"},
      "kinds": {n: asked["kinds"] if n == "torch" else [] for n in names},
      "keys_read": {n: 7.0 for n in names},
    }), flush=True)
  elif "rates" in asked:
    print(json.dumps({"flops_per_s": asked["threads"]}), flush=True)
  elif "time" in asked:
    print(json.dumps({"seconds": 0.5}), flush=True)
  elif asked["result"] == "torch":
    np.save(asked["path"], arrays["end"])
    print("{}", flush=True)
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
  """An interpreter that has a `torch` of its own, and answers from a list."""
  (tmp_path / "torch.py").write_text("")
  (tmp_path / "script.py").write_text(FAKE)
  python = tmp_path / "python"
  python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
  python.chmod(0o755)
  monkeypatch.setattr(torch_process, "SCRIPT", tmp_path / "script.py")
  return python


def test_it_gets_the_arrays_and_its_times_come_back(fake):
  problem = draw_problem(CASE, "float32")
  with TorchProcess(fake) as process:
    (entrant,), notes = process.open(("xla", "torch", "flex"), CASE, problem, "float32")
    assert entrant.seconds["forward"]() == 0.5 and entrant.keys_read == 7
    assert entrant.function == "dense" and set(entrant.seconds) == {"forward", "both"}
    end = entrant.result()
  assert end.shape == (1, 2, 70) and end.min() > 0
  assert notes[0].startswith("PyTorch 0 on cpu, ")
  assert notes[1] == "flex: no compiler: not measured"


def test_a_step_has_no_backward_pass(fake):
  case = CASE._replace(is_step=True)
  with TorchProcess(fake) as process:
    (entrant,), _ = process.open(
      ("torch",), case, draw_problem(case, "float32"), "float32"
    )
  assert set(entrant.seconds) == {"forward"}


def test_its_rates_are_those_of_the_cores_that_jax_has(fake, monkeypatch):
  monkeypatch.setattr(torch_process, "count_cores", lambda: 3)
  with TorchProcess(fake) as process:
    assert process.rates("float32") == {"flops_per_s": 3}


def test_a_process_that_dies_is_named(fake):
  with TorchProcess(fake) as process:
    process.process.kill()
    process.process.wait()
    with pytest.raises(ValueError, match="the PyTorch process ended"):
      process.ask(time="torch", kind="forward", least_s=0)


def test_interpreters_without_pytorch_are_refused(tmp_path):
  with pytest.raises(ValueError, match="cannot be run"):
    TorchProcess(tmp_path / "none")
  if not torch_process.has_torch():
    with pytest.raises(ValueError, match=r"has no PyTorch .*No module named"):
      TorchProcess(sys.executable)
    assert torch_python(None) is None and torch_python("python") == "python"


@pytest.mark.skipif("MDM_TORCH" not in os.environ, reason="MDM_TORCH names no Python")
def test_pytorch_with_our_mask_and_bias_gives_what_we_give():
  problem = draw_problem(CASE, "float32")
  ours = our_entrant("xla", CASE, problem).result()
  with TorchProcess(os.environ["MDM_TORCH"]) as process:
    entrants, _ = process.open(("torch", "torch_mask"), CASE, problem, "float32")
    dense, masked = entrants
    assert min(dense.seconds["both"](), masked.seconds["both"]()) > 0
    np.testing.assert_allclose(masked.result(), ours, atol=2e-6)
    assert np.abs(dense.result() - ours).max() > 0.1


@pytest.mark.skipif("MDM_TORCH" not in os.environ, reason="MDM_TORCH names no Python")
def test_pytorch_decodes_what_we_decode():
  case = CASE._replace(is_step=True)
  problem = draw_problem(case, "float32")
  steps, _ = open_steps(("xla", "xla_mask"), case, problem)
  ours, dense, _ = (step.result() for step in steps)
  with TorchProcess(os.environ["MDM_TORCH"]) as process:
    peers, _ = process.open(("torch", "torch_mask"), case, problem, "float32")
    assert [set(peer.seconds) for peer in peers] == [{"forward"}] * 2
    np.testing.assert_allclose(peers[0].result(), dense, atol=2e-6)
    np.testing.assert_allclose(peers[1].result(), ours, atol=2e-6)
    assert min(process.rates("float32").values()) > 1e6
