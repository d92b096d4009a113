"""What `mdm train` says at its end."""

import json
import signal
import types

import pytest

from mdm import api, cli
from mdm.cli import training


@pytest.fixture
def train(monkeypatch, tmp_path):
  """Runs `mdm train`, whose training ends as told; its JSON."""

  def run(stopped, left_out):
    times = {"time/wall_s": 2.0, "time/step_s": 1.0, "time/goodput": 0.5}
    state = types.SimpleNamespace(step=7)
    outcome = types.SimpleNamespace(
      state=state,
      metrics={"loss": 1.5},
      stopped=stopped,
      times=times,
      left_out=left_out,
    )
    monkeypatch.setattr(api, "train", lambda *args, **options: outcome)
    report = tmp_path / "report.json"
    options = ["--workdir", str(tmp_path), "--json", str(report)]
    status = cli.main(["train", "config.py", *options])
    return status, json.loads(report.read_text()) if report.exists() else None

  return run


def test_what_was_left_out_of_the_data_is_told_and_counted(train, capsys):
  status, report = train(None, {"corrupt": 2, "too_long": 1})
  told = capsys.readouterr().out
  assert status == 0 and "left out of the training data: 2 corrupt, 1 too long" in told
  assert report["left_out"] == {"corrupt": 2, "too_long": 1} and report["step"] == 7


def test_where_nothing_was_left_out_nothing_is_said_of_it(train, capsys):
  _, report = train(None, {})
  assert "left out" not in capsys.readouterr().out and report["left_out"] == {}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (15, 0)])
def test_a_stopped_training_says_where_it_goes_on(train, capsys, number, status):
  assert train(number, {"corrupt": 1}) == (status, None)
  told = capsys.readouterr().out
  assert "stopped and saved at step 7; the same command resumes." in told
  assert "1 corrupt" in told


def test_the_sum_of_several_stretches_is_told_below_the_last():
  times = {"time/wall_s": 2.0, "time/step_s": 1.0, "time/data_s": 0.25}
  times |= {"time/goodput": 0.5, "whole/wall_s": 10.0, "whole/step_s": 8.0}
  times |= {"whole/goodput": 0.8, "whole/stretches": 1.0}
  once = "wall 2.0 s: step 1.0, data 0.2; goodput 50%"
  assert training.describe_times(times) == once
  twice = training.describe_times(times | {"whole/stretches": 2.0})
  assert twice == f"{once}\nall 2 stretches: wall 10.0 s, goodput 80%"


def test_a_profile_is_asked_for_and_the_process_is_timed_from_its_start(monkeypatch):
  asked = {}

  def note(*args, **options):
    asked.update(options)
    raise ValueError("enough.")

  monkeypatch.setattr(api, "train", note)
  monkeypatch.setattr("mdm.training.clock.process_age", lambda: 40.0)
  command = ["train", "config.py", "--workdir", "run", "--profile"]
  assert cli.main(command) == 1 and asked["is_profiled"]
  assert asked["clock"].report()["time/wall_s"] < 40  # called from another program
  monkeypatch.setattr("sys.argv", ["mdm", *command[:-1]])
  monkeypatch.setattr("mdm.cli.app.keep_memory", lambda: None)
  assert cli.main() == 1 and not asked["is_profiled"]
  assert asked["clock"].report()["time/start_s"] > 40
