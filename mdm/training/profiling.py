"""A trace of a few steps by JAX's profiler, on request.

Steps 5 to 10 of a stretch are traced, after its first ones have compiled and filled
caches; a resumed training counts from where it resumes. Process 0 writes it.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from mdm.training.clock import Clock
from mdm.training.processes import is_first

FIRST, LAST = 5, 10  # of a stretch, the first step being 1
FOLDER = "profile"


class Profile:
  """Traces some steps into a folder and says how to look at them."""

  def __init__(
    self,
    workdir: Path,
    steps: range,
    tell: Callable[[str], None],
    *,
    clock: Clock,
    is_wanted: bool = True,
  ) -> None:
    """For the steps that are to be taken, numbered from 1 on; tells people by `tell`.

    Args:
      workdir: the run's folder.
      steps: numbers of the steps of this stretch.
      tell: takes a sentence.
      clock: on which writing counts as logging.
      is_wanted: if False, nothing is ever traced.
    """
    self._folder, self._tell, self._clock = workdir / FOLDER, tell, clock
    wanted = steps[FIRST - 1 : LAST]
    self._traced = wanted if is_wanted and is_first() else range(0)
    self._is_on, self._last = False, 0
    if is_wanted and not wanted:
      tell(
        f"--profile traces steps {FIRST} to {LAST} of those that are taken, and "
        f"{len(steps)} are left; nothing is traced. Set train.steps higher."
      )

  def step(self, number: int, before: Any) -> contextlib.AbstractContextManager[Any]:
    """Within, step `number` is dispatched; named in the trace if it is traced.

    Args:
      number: the step's, the first of a training being 1.
      before: what the step before gives; the trace begins once that is there.
    """
    if number not in self._traced:
      return contextlib.nullcontext()
    if not self._is_on:
      jax.block_until_ready(before)
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # every call of Python: most of a trace
      jax.profiler.start_trace(self._folder, profiler_options=options)
      self._is_on = True
    self._last = number
    return jax.profiler.StepTraceAnnotation("train", step_num=number)

  def after(self, number: int, metrics: Any) -> None:
    """Ends the trace after its last step, once that is done."""
    if self._is_on and number == self._traced[-1]:
      with self._clock.within("log"):
        jax.block_until_ready(metrics)
        self.close()

  def close(self) -> None:
    """Ends the trace, if one was begun."""
    if not self._is_on:
      return
    jax.profiler.stop_trace()
    self._is_on = False
    self._tell(f"steps {self._traced[0]} to {self._last} are traced in {self._folder}")
    self._tell(
      f"to look: pip install xprof; xprof --port 8791 {self._folder} (or TensorBoard); "
      "or open the newest *.trace.json.gz there in https://ui.perfetto.dev"
    )
