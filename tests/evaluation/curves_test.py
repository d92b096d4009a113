"""The step at which a curve first is good enough."""

import json
import math

import pytest

from mdm.evaluation.curves import compare_speeds, read_curve, steps_to_reach

FALLING = [(5, 3.0), (10, 1.0), (15, 2.0), (20, 1.5)]


@pytest.fixture
def runs(tmp_path):
  """Two runs; what is evaluated every fifth step stands beside what is logged."""
  for name, values in {"slow": (4.0, 3.0, 2.0), "fast": (3.0, 1.9, 1.0)}.items():
    rows = [{"step": step, "loss": 1.0} for step in range(1, 16)]
    for row, value in zip(rows[4::5], values, strict=True):
      row["val/loss"] = value
    (tmp_path / name).mkdir()
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / name / "metrics.jsonl").write_text(text + '\n{"step": 16, "val/l')
  return {name: tmp_path / name for name in ("slow", "fast")}


@pytest.mark.parametrize(
  ("value", "steps"), [(3.0, 5), (2.9, 10), (1.0, 10), (0.9, math.inf)]
)
def test_a_falling_number_is_reached_at_its_first_step_as_low(value, steps):
  assert steps_to_reach(FALLING, value) == steps


@pytest.mark.parametrize(("value", "steps"), [(3.0, 5), (3.1, math.inf), (-1.0, 5)])
def test_a_rising_number_is_reached_at_its_first_step_as_high(value, steps):
  assert steps_to_reach(FALLING, value, rises=True) == steps


def test_rows_without_the_number_are_passed_over(runs):
  assert read_curve(runs["slow"], "val/loss") == [(5, 4.0), (10, 3.0), (15, 2.0)]


def test_every_run_is_measured_by_one_runs_last_value(runs):
  assert compare_speeds(runs, "val/loss", of="slow") == {"slow": 15, "fast": 10}
  assert compare_speeds(runs, "val/loss", of="fast") == {"slow": math.inf, "fast": 15}
  assert compare_speeds(runs, "val/loss", value=3.0) == {"slow": 10, "fast": 5}


def test_a_number_that_was_not_logged_leads_to_the_nearest(runs):
  with pytest.raises(ValueError, match="did you mean val/loss"):
    read_curve(runs["slow"], "vale/loss")


@pytest.mark.parametrize("settings", [{}, {"of": "slow", "value": 1.0}])
def test_one_goal_is_needed(runs, settings):
  with pytest.raises(ValueError, match="give just one of the two"):
    compare_speeds(runs, "val/loss", **settings)
