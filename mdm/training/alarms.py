"""What a method finds alarming in its metrics, told once when it begins.

A loss can fall because a training goes well, or because what is to be learned has
become trivial. Only the method can tell these apart, by its other metrics.
"""

from collections.abc import Callable, Mapping

from mdm.methods.base import Method
from mdm.training.pictures import Picture
from mdm.training.sounds import Sound

REST = 10  # rows without an alarm after which one is told again


class AlarmError(RuntimeError):
  """A method found its metrics alarming, and is to stop then."""


class Alarms:
  """A writer that asks the method about every row of training metrics."""

  def __init__(
    self, method: Method, tell: Callable[[str], None], *, stops: bool = False
  ) -> None:
    """Tells people by `tell`, or, with `stops`, raises."""
    self._method, self._tell, self._stops = method, tell, stops
    self._quiet = REST

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Asks about the row, unless it is of evaluations alone.

    Raises:
      AlarmError: there is an alarm, and the training is to stop then.
    """
    if "loss" not in values:
      return
    found = self._method.alarm(values)
    is_new = found is not None and self._quiet >= REST
    self._quiet = self._quiet + 1 if found is None else 0
    if not is_new:
      return
    text = f"step {step}: {found}"
    if self._stops:
      raise AlarmError(f"{text} Set train.on_alarm=warn to go on.")
    self._tell(f"warning at {text}")

  def draw(self, step: int, pictures: Mapping[str, Picture]) -> None:
    """Nothing: numbers alone are asked about."""

  def play(self, step: int, sounds: Mapping[str, Sound]) -> None:
    """Nothing: numbers alone are asked about."""

  def close(self) -> None:
    """Nothing is held open."""
