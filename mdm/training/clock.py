"""Where the time of a run goes: every second belongs to exactly one bucket.

Goodput is the share of wall time spent in training steps (MLPerf-style accounting,
done here with one monotonic clock). Entering a bucket leaves the one before it, so the
buckets add up to the wall time by construction. What the host does while the devices
compute costs nothing, and is no bucket of its own.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

BUCKETS = ("start", "compile", "data", "step", "checkpoint", "eval", "log")


class Clock:
  """A stopwatch that is always in one bucket."""

  def __init__(self, age: float = 0.0) -> None:
    """Begins now, or `age` seconds ago."""
    self._began = self._since = time.perf_counter() - age
    self._bucket = "start"
    self._seconds = dict.fromkeys(BUCKETS, 0.0)

  @contextlib.contextmanager
  def within(self, bucket: str) -> Iterator[None]:
    """Counts the time of the block for `bucket`, not for the surrounding one."""
    outer = self._bucket
    self._switch(bucket)
    try:
      yield
    finally:
      self._switch(outer)

  @contextlib.contextmanager
  def beside(self, bucket: str, is_running: Callable[[], bool]) -> Iterator[None]:
    """The same for work beside a computation that was begun in the surrounding bucket.

    Args:
      bucket: what is counted if the computation had to wait for the block's end.
      is_running: asked at the end whether it still runs; if so, the time is its own.
    """
    outer, before = self._bucket, self._seconds[bucket]
    with self.within(bucket):
      yield
    if is_running():
      spent = self._seconds[bucket] - before
      self._seconds[bucket] -= spent
      self._seconds[outer] += spent

  def report(self) -> dict[str, float]:
    """Seconds per bucket ("time/step_s"), wall time, and `time/goodput` in [0, 1]."""
    self._switch(self._bucket)
    wall = time.perf_counter() - self._began
    seconds = {f"time/{bucket}_s": value for bucket, value in self._seconds.items()}
    return seconds | {
      "time/wall_s": wall,
      "time/goodput": self._seconds["step"] / wall if wall else 0.0,
    }

  def _switch(self, bucket: str) -> None:
    now = time.perf_counter()
    self._seconds[self._bucket] += now - self._since
    self._bucket, self._since = bucket, now


def process_age() -> float:
  """Seconds since this process began, imports included; 0 where Linux is not there."""
  try:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
  except OSError:
    return 0.0
  return max(0.0, uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def read_times(file: Path) -> dict[str, float]:
  """What an earlier stretch of a training stored; empty where nothing can be read."""
  try:
    found = json.loads(file.read_text())
  except (OSError, ValueError):
    return {}
  return {name: float(value) for name, value in found.items()}


def add_stretches(
  before: Mapping[str, float], now: Mapping[str, float]
) -> dict[str, float]:
  """Times of this stretch of a training, and its sums over all stretches, "whole/...".

  A stretch that was killed left no times, and is not in the sums.

  Args:
    before: what this gave for the stretch before; empty for the first.
    now: what the clock reports.
  """
  seconds = {f"whole/{n[5:]}": x for n, x in now.items() if n.endswith("_s")}
  whole = {name: x + before.get(name, 0.0) for name, x in seconds.items()}
  return {
    **now,
    **whole,
    "whole/goodput": whole["whole/step_s"] / max(whole["whole/wall_s"], 1e-9),
    "whole/stretches": before.get("whole/stretches", 0) + 1,
  }
