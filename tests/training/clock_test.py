"""The clock: every second lies in exactly one bucket."""

import contextlib
import time

import pytest

from mdm.training import clock
from mdm.training.clock import BUCKETS, Clock


@pytest.fixture
def now(monkeypatch):
  value = [50.0]
  monkeypatch.setattr(clock.time, "perf_counter", lambda: value[0])
  return value


def test_nested_buckets_share_the_time_without_overlap(now):
  watch = Clock()
  now[0] += 1
  with watch.within("step"):
    now[0] += 2
    with watch.within("data"):
      now[0] += 4
    now[0] += 8
  now[0] += 16
  times = watch.report()
  assert times["time/step_s"] == 10
  assert times["time/data_s"] == 4
  assert times["time/start_s"] == 17
  assert times["time/wall_s"] == sum(times[f"time/{b}_s"] for b in BUCKETS) == 31
  assert times["time/goodput"] == 10 / 31


def test_an_error_leaves_the_bucket(now):
  watch = Clock()
  bucket = watch.within("eval")
  with contextlib.suppress(KeyError), bucket:
    now[0] += 3
    raise KeyError
  now[0] += 2
  assert watch.report()["time/eval_s"] == 3
  assert watch.report()["time/start_s"] == 2


def test_an_unknown_bucket_is_a_mistake_of_ours():
  with pytest.raises(KeyError), Clock().within("coffee"):
    pass


def test_what_is_done_beside_a_computation_costs_nothing(now):
  watch = Clock()
  with watch.within("step"):
    for is_running, seconds in ((True, 1), (False, 2)):
      with watch.beside("data", lambda is_running=is_running: is_running):
        now[0] += seconds
  times = watch.report()
  assert (times["time/step_s"], times["time/data_s"]) == (1, 2)
  assert times["time/wall_s"] == 3


def test_a_clock_may_have_begun_before_it_was_made(now):
  watch = Clock(age=7.0)
  now[0] += 1
  times = watch.report()
  assert times["time/wall_s"] == times["time/start_s"] == 8


def test_the_age_of_this_process_grows_with_the_clock():
  first = clock.process_age()
  began = time.perf_counter()
  time.sleep(0.1)
  grown = clock.process_age() - first
  assert 0.05 <= grown <= time.perf_counter() - began + 0.05
  assert 0 < first < 24 * 3600


def test_stretches_add_up_whatever_the_last_one_was(now, tmp_path):
  stored = clock.add_stretches({}, {"time/wall_s": 4.0, "time/step_s": 1.0})
  times = {"time/wall_s": 6.0, "time/step_s": 4.0, "time/goodput": 4 / 6}
  found = clock.add_stretches(stored, times)
  assert {name: found[name] for name in times} == times
  assert (found["whole/wall_s"], found["whole/step_s"]) == (10.0, 5.0)
  assert (found["whole/goodput"], found["whole/stretches"]) == (0.5, 2)


def test_times_that_cannot_be_read_are_none(tmp_path):
  file = tmp_path / "goodput.json"
  assert clock.read_times(file) == {}
  file.write_text('{"whole/wall_s": 1')
  assert clock.read_times(file) == {}
  file.write_text('{"whole/wall_s": 1}')
  assert clock.read_times(file) == {"whole/wall_s": 1}
