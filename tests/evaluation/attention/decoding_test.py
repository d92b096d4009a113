"""Steps of decoding: every way computes its function, from its own cache."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.evaluation.attention import bench as attention_bench
from mdm.evaluation.attention import decoding as attention_decoding
from mdm.evaluation.attention import entrants as attention_entrants
from mdm.evaluation.attention.decoding import open_steps
from mdm.evaluation.attention.entrants import ours
from mdm.evaluation.attention.floor import Case, floor_s, forward_work
from mdm.evaluation.attention.peers import PEERS, jax_peer
from mdm.evaluation.attention.problems import draw_problem
from mdm.evaluation.rates import Gauge, Rates

CASE = Case(2, 4, 2, 90, 8, 16, is_step=True)
RATES = Rates(1e9, 1e9, 1e9, "made up")
PATTERNS = ("iid", "recency", "clustered")


def last_row(attend, case):
  """What a pass over the whole sequence gives the last query of a step's problem."""
  problem = draw_problem(case, "float32")
  whole = draw_problem(case._replace(is_step=False), "float32")
  query = whole.query.at[:, -1:].set(problem.query)
  return np.asarray(attend(query, *problem[1:4]))[:, -1:]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_step_gives_what_the_last_row_of_a_pass_gives(pattern):
  case = CASE._replace(pattern=pattern)
  (kept, full, masked), notes = open_steps(
    ("xla", "xla_mask"), case, draw_problem(case, "float32")
  )
  expected = last_row(ours("reference", case), case)
  np.testing.assert_allclose(kept.result(), expected, atol=2e-6)
  np.testing.assert_allclose(masked.result(), expected, atol=2e-6)
  dense = last_row(jax_peer("xla", case), case)
  np.testing.assert_allclose(full.result(), dense, atol=2e-6)
  assert notes == [] and np.abs(dense - expected).max() > 0.05


def test_a_newcomer_that_is_not_kept_is_not_seen_but_comes_in_where_there_is_room():
  problem = draw_problem(CASE, "float32")
  lowest = problem._replace(score=problem.score.at[..., -1].set(-1.0))
  moved = lowest._replace(value=lowest.value.at[:, -1].add(100.0))
  for width, is_seen in ((16, False), (90, True), (200, True)):
    case = CASE._replace(width=width)
    before, after = (open_steps(("xla_mask",), case, x)[0] for x in (lowest, moved))
    for one, other in zip(before, after, strict=True):
      assert (np.abs(one.result() - other.result()).max() > 0.1) == is_seen


def test_the_first_token_of_all_sees_itself():
  case = CASE._replace(length=1)
  problem = draw_problem(case, "float32")
  for entrant in open_steps(("xla", "xla_mask"), case, problem)[0]:
    expected = jnp.repeat(problem.value, 2, axis=2)
    np.testing.assert_allclose(entrant.result(), expected, atol=1e-6)


def test_a_step_is_timed_again_and_again_on_the_cache_it_left():
  entrants, _ = open_steps(("xla", "xla_mask"), CASE, draw_problem(CASE, "float32"))
  for entrant in entrants:
    assert set(entrant.seconds) == {"forward"}
    assert min(entrant.seconds["forward"]() for _ in range(3)) > 0


def test_the_time_of_a_step_is_that_of_many_over_their_number(monkeypatch):
  steps, _ = open_steps((), CASE, draw_problem(CASE, "float32"))
  clock = iter([0.0, 0.004, 10.0, 11.0])  # a step of 4 ms, then 5 in a second
  monkeypatch.setattr(attention_decoding.time, "perf_counter", lambda: next(clock))
  assert steps[0].seconds["forward"]() == pytest.approx(1 / 5)
  clock = iter([0.0, 3.0])  # long enough to be believed at once
  assert steps[0].seconds["forward"]() == 3


def test_the_cache_is_written_in_place_and_counts_once():
  case = CASE._replace(length=4_096)
  entrants, _ = open_steps(("xla",), case, draw_problem(case, "float32"))
  kept, full = (entrant.programs["forward"]["memory_mib"] for entrant in entrants)
  cache_mib = 2 * 4 * 2 * 2 * 4_096 * 8 / 2**20
  # XLA transposes keys and values for its product; a copy besides would make it three.
  assert cache_mib < full < 2.5 * cache_mib and kept < cache_mib / 10


def test_rows_of_a_step_tell_keys_read_and_the_floor_of_reading_them():
  rows, notes = attention_bench.bench_case(
    CASE, dtype="float32", backends=("auto",), peers=("xla", "xla_mask", "cudnn"),
    torch=None, rounds=1, gauge=Gauge(RATES),
  )  # fmt: skip
  kept, full, masked = rows
  assert [row["entrant"] for row in rows] == ["mdm topw", "xla", "xla_mask"]
  assert [row["keys_read"] for row in rows] == [16, 90, 90]
  assert [row["keys_visible"] for row in rows] == [16, 90, 16]
  assert [row["is_same"] for row in rows] == [True, False, True]
  assert kept["forward_floor_s"] == masked["forward_floor_s"] < full["forward_floor_s"]
  assert full["forward_floor_s"] == floor_s(forward_work(CASE, "dense", 4), RATES)
  assert masked["difference"] < 2e-6 and "both_s" not in kept and notes == []
  table = attention_bench.format_case(CASE, "float32", rows).splitlines()
  assert table[0] == "2,4,2,90,8,16 iid float32 a step of decoding"
  assert table[2].split()[:4] == ["mdm", "topw", "same", "16"]


def test_what_does_not_fit_is_noted(monkeypatch):
  problem = draw_problem(CASE, "float32")
  monkeypatch.setattr(attention_entrants, "free_mib", lambda: 0.001)
  entrants, notes = open_steps(("xla",), CASE, problem)
  assert entrants == [] and "xla at 90 tokens: needs 0 MiB of 0" in notes[1]
  monkeypatch.setattr(attention_bench, "free_mib", lambda: 0.01)
  rows, notes = attention_bench.bench_case(
    CASE, dtype="float32", backends=("auto",), peers=(), torch=None, rounds=1,
    gauge=Gauge(RATES),
  )  # fmt: skip
  assert rows == [] and notes == ["N = 90: keys and values do not fit: not measured"]


def test_what_decodes_is_among_the_peers():
  assert set(attention_decoding.STEP_PEERS) < set(PEERS)
