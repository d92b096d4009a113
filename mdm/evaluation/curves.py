"""Learning curves of runs: when a logged number first was as good as some value.

Use numbers of an evaluation (`train.eval_every`): a loss of training batches is noisy,
and its first good value comes by luck.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.training import config
from mdm.training.writers import FILE, read_rows

Rows = Sequence[Mapping[str, Any]]


def read_curve(run: str | Path, number: str) -> list[tuple[int, float]]:
  """Steps and values of a number that a run logged, in order.

  Raises:
    ValueError: the run logged no such number; the error lists the nearest.
  """
  rows = read_rows(Path(run) / FILE)
  curve = [(row["step"], float(row[number])) for row in rows if number in row]
  if not curve:
    known = {name for row in rows for name in row} - {"step"}
    raise ValueError(config.unknown_key(number, known, f"a number that {run} logged"))
  return curve


def steps_to_reach(
  curve: Sequence[tuple[int, float]], value: float, *, rises: bool = False
) -> float:
  """The first step whose value is at least as good; infinite if none is.

  Args:
    curve: steps and values.
    value: to be reached.
    rises: whether larger is better (an accuracy), not smaller (a loss).
  """
  sign = -1.0 if rises else 1.0
  reached = (step for step, found in curve if sign * found <= sign * value)
  return float(next(reached, math.inf))


def compare_speeds(
  runs: Mapping[str, Path],
  number: str,
  *,
  of: str | None = None,
  value: float | None = None,
  rises: bool = False,
) -> dict[str, float]:
  """Steps that each run took to be as good as one run was at its end.

  Args:
    runs: folders by name.
    number: what all of them logged.
    of: the run whose last value is to be reached.
    value: what is to be reached instead.
    rises: whether larger is better.

  Raises:
    ValueError: neither or both of `of` and `value`, or a number that was not logged.
  """
  if (of is None) == (value is None):
    raise ValueError(
      f"{number}: of = {of} and value = {value}; give just one of the two."
    )
  curves = {name: read_curve(run, number) for name, run in runs.items()}
  if of is not None:
    value = curves[of][-1][1]
  assert value is not None, "one of the two was given"
  return {
    name: steps_to_reach(curve, value, rises=rises) for name, curve in curves.items()
  }
