"""Batches one step ahead: drawn and sent to the devices while a step runs.

A step is dispatched and runs on its own; the next batch is made in that time, and is on
the devices when the loop has logged, evaluated and saved. A batch is a function of the
step, so looking ahead changes nothing that a checkpoint must hold. What goes wrong with
a batch is said when its step is due, as if it had been drawn then.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mdm.training.clock import Clock

Batch = dict[str, Any]  # of arrays on the devices


class Ahead:
  """Hands out batches in order, one of them drawn before it is asked for."""

  def __init__(self, draw: Callable[[], Batch], clock: Clock, count: int) -> None:
    """Of `draw`, `count` batches at most are wanted."""
    self._draw, self._clock, self._left = draw, clock, count
    self._held: Batch | Exception | None = None

  def take(self) -> Batch:
    """The next batch.

    Raises:
      Exception: what drawing it raised.
    """
    if self._held is None:
      with self._clock.within("data"):
        self._look()
    held, self._held = self._held, None
    if isinstance(held, Exception):
      raise held
    assert held is not None, "more batches are taken than were wanted"
    return held

  def look(self, running: Mapping[str, Any]) -> None:
    """Draws the batch after the one that was taken last, if one is wanted.

    Args:
      running: what the step that was dispatched gives. As long as that is not there,
        drawing costs nothing.
    """

    def is_running() -> bool:
      """Whether the step still runs."""
      return not all(x.is_ready() for x in running.values())

    if self._held is None and self._left:
      with self._clock.beside("data", is_running):
        self._look()

  def _look(self) -> None:
    if not self._left:
      return
    self._left -= 1
    try:
      self._held = self._draw()
    except Exception as error:  # belongs to a step that is not due yet
      self._held = error
