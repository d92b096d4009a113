"""Being asked to stop: SIGTERM and ctrl-C save first and end cleanly."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
  """While active, notes the first SIGTERM or SIGINT; a second ctrl-C ends at once.

  Used as a context manager around the loop, which asks `signal` after every step.
  Outside the main thread, where Python allows no handlers, it notes nothing.
  """

  def __init__(self) -> None:
    self.signal: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "StopRequest":
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self.signal is not None and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.signal = number
