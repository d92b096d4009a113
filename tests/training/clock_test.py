"""The clock: every second lies in exactly one bucket."""

import contextlib

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
