import math
import types

import jax
import numpy as np
import pytest

from mdm.training.chips import CHIPS, GIB, find_chip
from mdm.training.compiling import CompiledStep
from mdm.training.forecast import check_fits, describe, forecast, raise_if_over

TEXT = """
ENTRY %main (x: f32[512,256]) -> f32[512,256] {
  %a = f32[1024,256] all-gather(%x), channel_id=1, replica_groups=[1,4]<=[4]
  %b = f32[256] all-reduce(%y), channel_id=2, replica_groups=[1,4]<=[4]
}
"""
V5E = CHIPS["v5e"]


def compiled(state=8 * GIB, temporary=4 * GIB, text=TEXT):
  """A step of 64 texts of 128 tokens that was not compiled."""
  batch = {
    "tokens": jax.ShapeDtypeStruct((64, 128), np.int32),
    "index": jax.ShapeDtypeStruct((64,), np.int32),
  }
  memory = {"parameters": state // 3, "state": state, "batch": 1024,
            "temporary": temporary}  # fmt: skip
  program = types.SimpleNamespace(as_text=lambda: text)
  return CompiledStep.__new__(CompiledStep, program, None, batch, 1_000_000, memory)


def told(flops=4 * 197e12, **memory):
  """Its forecast on four chips."""
  return forecast(compiled(**memory), {"fsdp": 4}, flops, V5E)


def test_the_longest_floor_is_the_step_at_its_best():
  found = told()
  assert found.seconds["compute"] == pytest.approx(1.0)
  moved = 2 * 12 * GIB + 1024
  assert found.seconds["memory"] == pytest.approx(moved / V5E.bandwidth)
  sent = 0.75 * 1024 * 256 * 4 + 2 * 0.75 * 256 * 4
  assert found.seconds["links"] == pytest.approx(sent / V5E.link)
  assert found.seconds["step"] == found.seconds["compute"]
  assert found.rates["examples_per_s"] == pytest.approx(64)
  assert found.rates["tokens_per_s"] == pytest.approx(64 * 128)
  assert told(flops=0.0).seconds["step"] == found.seconds["memory"]


def test_what_goes_between_slices_goes_over_the_network():
  within = forecast(compiled(), {"data": 4}, 1.0, V5E).seconds["links"]
  across = forecast(compiled(), {"slice": 4}, 1.0, V5E).seconds["links"]
  assert across / within == pytest.approx(V5E.link / V5E.network)


def test_without_a_chip_there_are_no_times_and_no_limit():
  found = forecast(compiled(state=900 * GIB), {"fsdp": 4}, 1e9, None)
  assert not found.seconds and not found.rates and found.capacity is None
  check_fits(found, accumulate=1)
  assert "at best" not in "\n".join(describe(found))


def test_what_does_not_fit_says_by_how_much_and_what_would_help():
  check_fits(told(), accumulate=1)
  with pytest.raises(
    ValueError,
    match=r"28\.00 GiB .* 16\.00, 12\.00 too many; train\.acc"
    r"umulate=8 makes temporaries about 4 times",
  ):
    check_fits(told(temporary=20 * GIB), accumulate=2)
  with pytest.raises(
    ValueError, match=r"state alone takes 20\.00 GiB: .* about 16 with"
  ):
    check_fits(told(state=20 * GIB), accumulate=1)


@pytest.mark.parametrize("state", [1, 7, 14, 15.5, 40])
@pytest.mark.parametrize("temporary", [2, 30, 300])
def test_the_remedy_would_fit(state, temporary):
  memory = {"state": int(state * GIB), "temporary": temporary * GIB}
  memory["total"] = sum(memory.values())
  if memory["total"] <= 16 * GIB:
    return raise_if_over(memory, 16 * GIB, 4, accumulate=1)
  with pytest.raises(ValueError) as error:
    raise_if_over(memory, 16 * GIB, 4, accumulate=1)
  words = str(error.value)
  if "accumulate=" in words:
    times = int(words.partition("accumulate=")[2].split()[0])
    assert state + temporary / times <= 16
  else:
    devices = int(words.partition("about ")[2].split()[0])
    assert state * 4 / devices <= 8
  return None


def test_a_forecast_is_told_in_lines_and_as_plain_types():
  found = told()
  lines = "\n".join(describe(found))
  for words in (
    "1,000,000 parameters on 4 devices",
    "12.00 GiB of 16.00 GiB",
    "1 all-gather along fsdp",
    "1e+03 ms a step",
    "64 examples/s",
  ):
    assert words in lines
  plain = found.to_json()
  assert plain["traffic"][0]["axes"] == ["fsdp"] and plain["devices"] == 4
  assert math.isclose(plain["seconds"]["compute"], 1.0)


def test_chips_are_known_by_name():
  assert find_chip("v5p").memory == 95 * GIB
  assert all(chip.link > chip.network for chip in CHIPS.values())
  with pytest.raises(ValueError, match=r"'v5' is not a chip; did you mean .*v5e"):
    find_chip("v5")


def test_products_that_the_data_decide_give_no_floor():
  found = told(flops=math.nan)
  assert set(found.seconds) == {"memory", "links", "step"}
  assert found.seconds["step"] == found.seconds["memory"]
  assert "products not known" in "\n".join(describe(found))
