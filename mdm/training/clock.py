"""Where the time of a run goes: every second belongs to exactly one bucket.

Goodput is the share of wall time spent in training steps (MLPerf-style accounting,
done here with one monotonic clock). Entering a bucket leaves the one before it, so the
buckets add up to the wall time by construction.
"""

import contextlib
import time
from collections.abc import Iterator

BUCKETS = ("start", "compile", "data", "step", "checkpoint", "eval", "log")


class Clock:
  """A stopwatch that is always in one bucket."""

  def __init__(self) -> None:
    self._began = self._since = time.perf_counter()
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
