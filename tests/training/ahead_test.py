"""Batches one step ahead: which are drawn when, and on whose time."""

import itertools

import pytest

from mdm.training import clock
from mdm.training.ahead import Ahead
from mdm.training.clock import Clock


class Running:
  """What a step gives, there or not."""

  def __init__(self, *, is_there):
    self.is_there = is_there

  def is_ready(self):
    return self.is_there


def numbers(drawn, *, broken=None):
  """Draws 0, 1, 2 ..., noting each; `broken` raises."""
  count = itertools.count()

  def draw():
    number = next(count)
    drawn.append(number)
    if number == broken:
      raise ValueError("clip 2 is silent")
    return {"number": number}

  return draw


def test_one_batch_is_drawn_ahead_and_all_come_in_order():
  drawn = []
  ahead = Ahead(numbers(drawn), Clock(), 3)
  given = []
  for _ in range(3):
    given.append(ahead.take()["number"])
    ahead.look({"loss": Running(is_there=False)})
    ahead.look({"loss": Running(is_there=False)})
    assert drawn == list(range(min(given[-1] + 2, 3)))
  assert given == [0, 1, 2]


def test_what_is_wrong_with_a_batch_is_said_when_it_is_due():
  drawn = []
  ahead = Ahead(numbers(drawn, broken=1), Clock(), 5)
  assert ahead.take() == {"number": 0}
  ahead.look({})
  ahead.look({})
  assert drawn == [0, 1]
  with pytest.raises(ValueError, match="clip 2 is silent"):
    ahead.take()


@pytest.mark.parametrize(("is_there", "data", "step"), [(True, 2, 1), (False, 0, 3)])
def test_drawing_counts_only_if_the_step_was_done_before(
  monkeypatch, is_there, data, step
):
  now = [0.0]
  monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])

  def draw():
    now[0] += 2
    return {}

  watch = Clock()
  ahead = Ahead(draw, watch, 9)
  with watch.within("step"):
    now[0] += 1
    ahead.look({"loss": Running(is_there=True), "b": Running(is_there=is_there)})
  times = watch.report()
  assert (times["time/data_s"], times["time/step_s"]) == (data, step)
  assert times["time/wall_s"] == 3


def test_a_batch_that_must_be_waited_for_is_data(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])

  def draw():
    now[0] += 2
    return {}

  watch = Clock()
  Ahead(draw, watch, 1).take()
  assert watch.report()["time/data_s"] == 2
