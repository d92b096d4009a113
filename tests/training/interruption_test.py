"""Real processes, interrupted: kill -9, SIGTERM, ctrl-C, and the same command again."""

import json
import os
import random
import signal
import time

import pytest
from toys import rig

from mdm.training.writers import read_rows


def wait_for(condition, process, seconds=90):
  """Blocks until the condition holds, while the process runs."""
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < end, "waited in vain"
    time.sleep(0.0005)


def last_step(folder):
  rows = read_rows(folder / "metrics.jsonl")
  return rows[-1]["step"] if rows else 0


def checkpoints(folder):
  return sorted(
    int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()
  )


def is_saving(folder):
  return any("tmp" in name for name in os.listdir(folder / "checkpoints"))


def unfinished(folder):
  return sorted(p.name for p in folder.rglob("*tmp*"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
  """One training in three processes: ended by SIGTERM, by ctrl-C, by its last step."""
  folder = tmp_path_factory.mktemp("stopped") / "run"
  cache = folder.with_name("cache")
  process = rig.start(folder, "--slow=0.1", cache=cache)
  wait_for(lambda: last_step(folder) >= 6, process)
  at_term, began = last_step(folder), time.monotonic()
  process.send_signal(signal.SIGTERM)
  first = (*rig.finish(process), at_term, checkpoints(folder), time.monotonic() - began)
  (folder / "evaluating").unlink()
  process = rig.start(folder, "--slow=0.05", "--slow-eval=0.5", cache=cache)
  wait_for((folder / "evaluating").exists, process)
  process.send_signal(signal.SIGINT)
  second = (*rig.finish(process), checkpoints(folder))
  return folder, first, second, rig.finish(rig.start(folder, cache=cache))


def test_sigterm_saves_this_step_or_the_next_and_exits_well(stopped):
  status, out, err, at_term, saved, seconds = stopped[1]
  assert status == 0, err
  assert saved[-1] in (at_term, at_term + 1)
  assert json.loads(out)["stopped"] == signal.SIGTERM
  assert seconds < 20


def test_ctrl_c_during_an_evaluation_lets_it_finish_saves_and_exits_well(stopped):
  status, out, err, saved = stopped[2]
  assert status == 0, err
  assert json.loads(out)["stopped"] == signal.SIGINT
  assert saved[-1] == json.loads(out)["step"] == 10
  row = next(r for r in read_rows(stopped[0] / "metrics.jsonl") if r["step"] == 10)
  assert row["toy/one"] == 1.0


def test_a_training_stopped_twice_ends_as_if_never_stopped(stopped, final, rows):
  assert stopped[3][0] == 0, stopped[3][2]
  assert rig.differing(final, rig.saved(stopped[0])) == []
  assert read_rows(stopped[0] / "metrics.jsonl") == rows


def test_a_second_process_compiles_nothing_anew(stopped):
  first, last = json.loads(stopped[1][1]), json.loads(stopped[3][1])
  assert first["compiled"] > 0
  assert (last["compiled"], last["hits"] > 0) == (0, True)


def test_kill_inside_an_async_save_loses_no_more_than_that_save(final, tmp_path):
  process = rig.start(tmp_path / "run", "--slow=0.02")
  wait_for(lambda: 5 in checkpoints(tmp_path / "run"), process)
  wait_for(lambda: is_saving(tmp_path / "run"), process)
  process.kill()
  assert rig.finish(process)[0] == -signal.SIGKILL
  assert is_saving(tmp_path / "run")  # it died in the act
  status, _, err = rig.finish(rig.start(tmp_path / "run"))
  assert status == 0, err
  assert rig.differing(final, rig.saved(tmp_path / "run")) == []
  assert unfinished(tmp_path / "run") == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_kill_at_five_random_instants_changes_nothing(final, rows, tmp_path, seed):
  instants = random.Random(seed)
  folder, killed = tmp_path / "run", 0
  while killed < 5:
    process = rig.start(folder, "--slow=0.05")
    target = min(last_step(folder) + instants.randint(0, 5), 18)
    wait_for(lambda: last_step(folder) >= target, process)  # noqa: B023
    time.sleep(instants.uniform(0, 0.1))
    process.kill()
    assert rig.finish(process)[0] == -signal.SIGKILL
    killed += 1
  status, _, err = rig.finish(rig.start(folder))
  assert status == 0, err
  assert rig.differing(final, rig.saved(folder)) == []
  assert read_rows(folder / "metrics.jsonl") == rows
  assert unfinished(folder) == []
