import os

import pytest

from mdm.data import workers
from mdm.data.workers import parallel_map


def squares(job):
  """A job for workers: imported there by name, as `mdm.data` functions are."""
  return lambda index: job * index * index


def failing(job):
  def make(index):
    if index == 100:
      raise ValueError(f"record {index} of {job} is wrong")
    return index

  return make


@pytest.fixture(autouse=True)
def importable(monkeypatch):
  monkeypatch.syspath_prepend(os.path.dirname(__file__))


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_results_and_order_do_not_depend_on_the_number_of_workers(num_workers):
  found = list(parallel_map("workers_test:squares", 3, 300, num_workers=num_workers))
  assert found == [3 * k * k for k in range(300)]


def test_a_failure_in_a_worker_keeps_its_message():
  with pytest.raises(RuntimeError, match="record 100 of x is wrong"):
    list(parallel_map("workers_test:failing", "x", 300, num_workers=2))


def test_stopping_early_ends_the_processes(monkeypatch):
  started = []
  start = workers.subprocess.Popen

  def record(*args, **kwargs):
    started.append(start(*args, **kwargs))
    return started[-1]

  monkeypatch.setattr(workers.subprocess, "Popen", record)
  records = parallel_map("workers_test:squares", 1, 100_000, num_workers=2)
  assert next(records) == 0
  records.close()
  assert [process.returncode for process in started] == [-9, -9]


def test_nothing_to_do_starts_nothing():
  assert list(parallel_map("workers_test:squares", 1, 0)) == []
