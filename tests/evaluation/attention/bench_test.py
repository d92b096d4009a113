import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.evaluation.attention import bench as attention_bench
from mdm.evaluation.attention import entrants as attention_entrants
from mdm.evaluation.attention.bench import format_rows, make_rows, time_entrants
from mdm.evaluation.attention.entrants import Entrant, describe_program, our_entrant
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.peers import jax_peer, open_jax_peers
from mdm.evaluation.attention.problems import draw_problem
from mdm.evaluation.rates import Gauge, Rates

RATES = Rates(1e9, 1e9, 1e9, "made up")
CASE = Case(1, 2, 1, 256, 8, 8)


@pytest.fixture(scope="module")
def rows():
  found, notes = attention_bench.bench_case(
    CASE, dtype="float32", backends=("xla",), peers=("xla", "xla_mask", "cudnn"),
    torch=None, rounds=2, gauge=Gauge(RATES),
  )  # fmt: skip
  return {row["entrant"]: row for row in found} | {"notes": notes}


def test_rows_tell_time_work_memory_and_what_is_another_function(rows):
  ours, dense, masked = rows["mdm xla"], rows["xla"], rows["xla_mask"]
  assert ours["forward_ratio"] == ours["both_ratio"] == 1.0
  assert (ours["is_same"], dense["is_same"], masked["is_same"]) == (True, False, True)
  assert ours["keys_read"] == ours["chunk"] + 8 < dense["keys_read"] == 256
  assert ours["keys_visible"] == masked["keys_visible"] < 8 < dense["keys_visible"]
  for row in (ours, dense, masked):
    assert min(row["forward_s"], row["both_s"], row["both_memory_mib"]) > 0
    assert row["both_floor_share"] == row["both_floor_s"] / row["both_s"]
    assert row["forward_ideal_share"] <= row["forward_floor_share"]
  assert {"selection_s", "gather_s", "attention_s"} <= ours.keys()
  assert rows["notes"] == ["cudnn runs on a GPU only: not measured"]


def test_the_same_function_is_checked_to_be_the_same(rows):
  assert rows["xla_mask"]["difference"] < 2e-6 and "difference" not in rows["xla"]


def test_the_table_shows_a_dash_where_nothing_was_measured(rows):
  lines = format_rows([rows["mdm xla"], {**rows["xla"], "both_memory_mib": None}])
  dense = lines.splitlines()[2].split()
  assert dense[:2] == ["xla", "dense"] and dense[-2:] == ["-", "-"]
  assert "chunks of 64; alone: selection" in lines.splitlines()[3]


def test_gradients_of_peers_with_our_function_are_ours():
  case = CASE._replace(length=40)
  *arrays, d_out = draw_problem(case, "float32")

  def gradients(attend):
    return jax.jit(lambda *x: jax.vjp(attend, *x)[1](d_out))(*arrays)

  ours = gradients(attention_entrants.ours("xla", case))
  for a, b in zip(ours, gradients(jax_peer("xla_mask", case)), strict=True):
    np.testing.assert_allclose(a, b, atol=5e-6)


def test_rounds_go_through_the_entrants_in_turn_and_ratios_are_within_a_round():
  order = []

  def entrant(name, times):
    turns = iter(times)

    def measure():
      order.append(name)
      return next(turns)

    return Entrant(name, "dense", 1, {"forward": measure}, lambda: np.zeros(1), {})

  entrants = [entrant("a", (9.0, 1.0, 2.0, 4.0)), entrant("b", (9.0, 3.0, 4.0, 4.0))]
  times = time_entrants(entrants, 3, lambda: order.append("rates"))
  assert order == ["a", "b", "rates"] * 4
  _, row = make_rows(entrants, CASE, times, RATES, 4)
  assert row["forward_s"] == 4 and row["forward_ratio"] == 2  # not 4 / 2 of medians
  assert "both_s" not in row and "backward_s" not in row


def test_gradients_cost_what_both_passes_take_beyond_the_first_in_a_round():
  times = {"a": {"forward": [1.0, 2.0, 9.0], "both": [4.0, 9.0, 11.0]}}
  entrant = Entrant("a", "ideal", 1, {}, lambda: np.zeros(1), {})
  (row,) = make_rows([entrant], CASE, times, RATES, 4)
  assert (row["forward_s"], row["both_s"], row["backward_s"]) == (2, 9, 3)
  for kind in ("forward", "both"):  # where all that is computed is the function itself
    assert row[f"{kind}_ideal_share"] == row[f"{kind}_floor_share"] > 0


def test_the_time_of_a_call_is_that_of_many_over_their_number(monkeypatch):
  calls = []
  clock = iter([0.0, 0.004, 10.0, 11.0])  # a call of 4 ms, then 5 in a second
  monkeypatch.setattr(attention_entrants.time, "perf_counter", lambda: next(clock))
  assert attention_entrants.seconds(calls.append, 7) == pytest.approx(1 / 5)
  assert calls == [7] * 6
  clock = iter([0.0, 3.0])  # long enough to be believed at once
  assert attention_entrants.seconds(calls.append, 7) == 3


def test_what_needs_more_memory_than_is_free_is_noted_and_not_run(monkeypatch):
  monkeypatch.setattr(attention_entrants, "free_mib", lambda: 0.01)
  options = {"torch": None, "rounds": 1, "gauge": Gauge(RATES), "dtype": "float32"}
  rows, notes = attention_bench.bench_case(CASE, backends=("xla",), peers=(), **options)
  assert rows == [] and "MiB of 0 that are free: not measured" in notes[0]
  problem = draw_problem(CASE, "float32")
  entrants, notes = open_jax_peers(("xla", "tokamax"), CASE, problem)
  assert entrants == [] and "xla at N = 256: needs" in notes[0]


def test_short_sequences_are_dense_under_the_same_mask():
  case = CASE._replace(length=16)
  entrant = our_entrant("auto", case, draw_problem(case, "float32"))
  assert entrant.chunk is None and entrant.function == "ideal"
  assert set(entrant.seconds) == {"forward", "both", "selection"}
  assert entrant.keys_read == 16


def test_the_compiler_is_asked_for_flops_and_memory():
  x = jnp.ones((16, 16))
  told = describe_program(jax.jit(lambda x: x @ x).lower(x).compile())
  assert told["compiled_flops"] == 2 * 16**3
  assert told["memory_mib"] == pytest.approx(2 * 4 * 256 / 2**20, rel=0.1)
