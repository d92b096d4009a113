"""Being asked to stop: SIGTERM and ctrl-C save first and end cleanly.

Several processes stop together: a signal to one of them is passed on by JAX, which
agrees with all on the step after the furthest that any has taken.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
  """While active, notes the first SIGTERM or SIGINT; a second ctrl-C ends at once.

  Used as a context manager around the loop, which asks `is_due` before every step.
  Outside the main thread, where Python allows no handlers, it notes nothing. Among
  several processes SIGTERM is left to JAX, which listens to it since they were joined,
  and a ctrl-C becomes one.

  Attributes:
    signal: the first that was noted, or None.
  """

  def __init__(self) -> None:
    self.signal: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "StopRequest":
    if threading.current_thread() is threading.main_thread():
      for number in self._heard():
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

  def is_due(self, step: int) -> bool:
    """Whether the training ends here; all processes ask once at each step.

    Args:
      step: steps taken.
    """
    if jax.process_count() == 1:
      return self.signal is not None
    if not multihost_utils.reached_preemption_sync_point(step):
      return False
    self.signal = self.signal or signal.SIGTERM
    return True

  def _heard(self) -> tuple[int, ...]:
    """The signals that are noted here."""
    alone = jax.process_count() == 1
    return (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,)

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    if self.signal is not None and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.signal = number
    if signal.SIGTERM not in self._previous:
      signal.raise_signal(signal.SIGTERM)
