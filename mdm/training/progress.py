"""One line that says how far a long task is: steps, loss, speed, time left."""

import sys
import time
from io import TextIOBase


class Progress:
  """A progress bar on a terminal; a line now and then where there is none."""

  def __init__(
    self,
    total: int,
    start: int = 0,
    out: TextIOBase | None = None,
    *,
    unit: str = "steps",
    is_silent: bool = False,
  ) -> None:
    """Begins at `start` of `total` steps, writing to `out` (standard error if None)."""
    self._unit = unit
    self._is_silent = is_silent
    self._out = out if out is not None else sys.stderr
    self._total, self._start = total, start
    self._began = self._shown = time.monotonic()
    self._loss: float | None = None
    self._every = 0.2 if self._out.isatty() else 15.0

  def update(self, step: int, loss: float | None = None) -> None:
    """Shows the state after `step`; `loss` is smoothed over the calls that give it."""
    if loss is not None:
      self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
    now = time.monotonic()
    is_due = now - self._shown >= self._every or step >= self._total
    if is_due and not self._is_silent:
      self._shown = now
      self._show(step, now - self._began)

  def tell(self, text: str) -> None:
    """Writes a line of its own; a bar goes on below it."""
    if self._is_silent:
      return
    start = "\r" if self._out.isatty() else ""
    self._out.write(f"{start}{text:<79}\n")
    self._out.flush()

  def close(self) -> None:
    """Leaves the line as it stands."""
    if self._out.isatty() and not self._is_silent:
      self._out.write("\n")

  def _show(self, step: int, seconds: float) -> None:
    rate = (step - self._start) / seconds if seconds > 0 else 0.0
    left = (self._total - step) / rate if rate > 0 else float("inf")
    loss = "" if self._loss is None else f"  loss {self._loss:.4f}"
    done = step / max(self._total, 1)
    bar = "#" * int(24 * done)
    line = (
      f"[{bar:<24}] {step}/{self._total}{loss}  {rate:.1f} {self._unit}/s  "
      f"{format_time(left)} left"
    )
    ending, start = ("", "\r") if self._out.isatty() else ("\n", "")
    self._out.write(f"{start}{line:<79}{ending}")
    self._out.flush()


def format_time(seconds: float) -> str:
  """Seconds as "1:02:03" or "2:03"; "?" if unknown."""
  if seconds != seconds or seconds == float("inf"):
    return "?"
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
