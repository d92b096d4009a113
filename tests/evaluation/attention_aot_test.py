"""What the compiler says of attention, on devices that are not there."""

import jax
import numpy as np
import pytest

from mdm.evaluation import attention_aot
from mdm.evaluation.attention_aot import compile_case, format_rows, ours_on_tpu
from mdm.evaluation.attention_entrants import ours
from mdm.evaluation.attention_floor import Case
from mdm.evaluation.attention_problems import draw_problem
from mdm.kernels import xla

CASE = Case(1, 2, 1, 512, 16, 32)


@pytest.fixture
def on_cpu(monkeypatch):
  """The backend of a TPU replaced by plain JAX, and peers by what compiles here."""
  monkeypatch.setattr("mdm.kernels.interval_attention.load_backend", lambda name: xla)

  def refuse(query, key, value, score):
    raise NotImplementedError("heads of 16\nand more")

  peers = {"xla": lambda *x: reference_dense(*x), "splash": lambda *x: x[0]}
  monkeypatch.setattr(attention_aot, "jax_peer", lambda name, case: peers[name])
  return peers | {"refuse": refuse}


def reference_dense(query, key, value, score):
  return jax.nn.dot_product_attention(query, key, value, is_causal=True)


@pytest.mark.parametrize("length", [512, 48])
def test_what_is_compiled_is_our_whole_operation(on_cpu, length):
  case = CASE._replace(length=length)
  *arrays, _ = draw_problem(case, "float32")
  expected = ours("reference", case)(*arrays)
  np.testing.assert_allclose(ours_on_tpu(case)(*arrays), expected, atol=2e-6)


def test_rows_have_the_compiler_s_counts_but_for_kernels_that_tell_none(on_cpu):
  ours, dense, splash = compile_case(CASE, jax.devices()[0], "float32")
  assert [row["is_same"] for row in (ours, dense, splash)] == [True, False, False]
  pairs = 2 * 2 * 512 * 512 * 16 * 2  # two products of n x n by two heads
  assert dense["forward_compiled_flops"] == pytest.approx(pairs, rel=0.2)
  assert dense["both_compiled_flops"] > 2 * dense["forward_compiled_flops"]
  assert ours["forward_temp_mib"] > 0 and splash["both_memory_mib"] > 0
  assert not any("flops" in name or "estimate" in name for name in splash)


def test_what_does_not_compile_has_its_reason_in_the_table(on_cpu, monkeypatch):
  monkeypatch.setitem(on_cpu, "splash", on_cpu["refuse"])
  monkeypatch.setattr(attention_aot, "jax_peer", lambda name, case: on_cpu[name])
  rows = compile_case(CASE, jax.devices()[0], "float32")
  table = format_rows(rows).splitlines()
  assert table[0] == "1,2,1,512,16,32" and len(table) == 2 + 2 * 3
  assert table[-1] == "splash     both     does not compile: heads of 16"


def test_a_dash_stands_for_what_the_compiler_was_not_told():
  row = {"entrant": "splash", **CASE._asdict()}
  row |= {"forward_temp_mib": 5.25, "both_temp_mib": 0.0, "both_estimate_s": 0.002}
  forward, both = format_rows([row]).splitlines()[2:]
  assert forward.split() == ["splash", "forward", "-", "-", "5.2", "-"]
  assert both.split() == ["splash", "both", "-", "-", "-", "2.000"]
