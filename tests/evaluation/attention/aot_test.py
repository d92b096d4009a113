"""What the compiler says of attention, on devices that are not there."""

import jax
import pytest

from mdm.evaluation.attention import aot as attention_aot
from mdm.evaluation.attention.aot import CHIPS, compile_case, describe_chip, format_rows
from mdm.evaluation.attention.floor import Case

CASE = Case(1, 2, 1, 512, 16, 32)


@pytest.fixture
def peers(monkeypatch):
  """Peers that compile here, by name, as if this CPU had both."""
  found = {"xla": reference_dense, "splash": lambda *x: x[0]}
  monkeypatch.setattr(attention_aot, "jax_peer", lambda name, case: found[name])
  monkeypatch.setitem(attention_aot.DENSE, "cpu", tuple(found))
  return found


def reference_dense(query, key, value, score):
  return jax.nn.dot_product_attention(query, key, value, is_causal=True)


def test_rows_have_the_compiler_s_counts_but_for_kernels_that_tell_none(peers):
  ours, dense, splash = compile_case(CASE, jax.devices()[0], "float32")
  assert ours["entrant"] == "mdm cpu"
  assert [row["is_same"] for row in (ours, dense, splash)] == [True, False, False]
  pairs = 2 * 2 * 512 * 512 * 16 * 2  # two products of n x n by two heads
  assert dense["forward_compiled_flops"] == pytest.approx(pairs, rel=0.2)
  assert dense["both_compiled_flops"] > 2 * dense["forward_compiled_flops"]
  assert ours["forward_temp_mib"] > 0 and splash["both_memory_mib"] > 0
  assert not any("flops" in name or "estimate" in name for name in splash)


def test_what_does_not_compile_has_its_reason_in_the_table(peers):
  def refuse(*arrays):
    raise NotImplementedError("heads of 16\nand more")

  peers["splash"] = refuse
  rows = compile_case(CASE, jax.devices()[0], "float32")
  table = format_rows(rows).splitlines()
  assert table[0] == "1,2,1,512,16,32" and len(table) == 2 + 2 * 3
  assert table[-1] == "splash     both     does not compile: heads of 16"


def test_a_dash_stands_for_what_the_compiler_was_not_told():
  row = {"entrant": "splash", **CASE._asdict()}
  row |= {"forward_temp_mib": 5.25, "both_temp_mib": 0.0, "both_estimate_s": 0.002}
  forward, both = format_rows([row]).splitlines()[2:]
  assert forward.split() == ["splash", "forward", "-", "-", "5.2", "-"]
  assert both.split() == ["splash", "both", "-", "-", "0.0", "2.000"]


@pytest.mark.parametrize("chip", CHIPS)
def test_without_a_compiler_the_remedy_is_its_installation(monkeypatch, chip):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(ValueError, match=r"pip install (libtpu|\"jax\[cuda12\]\")"):
    describe_chip(chip)
