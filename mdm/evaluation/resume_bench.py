"""How long a stopped training takes to go on, from a process that does not exist yet.

The training is begun by the command that users call, stopped by SIGTERM after a step
was logged, and begun anew, several times. A stretch's seconds are those of its clock,
which counts from the process's birth, imports included. `resume/cold_s` is all of a
stretch that is neither compilation nor a step: start, data, the checkpoint's reading
and, at the stop, its writing. So it is more than what goes by before the first step.
"""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.training.clock import BUCKETS, read_times
from mdm.training.hardware import describe_hardware
from mdm.training.loop import GOODPUT
from mdm.training.writers import FILE

PAUSE_S = 0.02  # between two looks at the metrics' file


def bench_resume(
  path: str | Path,
  overrides: Iterable[str] = (),
  *,
  rounds: int = 3,
  patience_s: float = 600.0,
) -> dict[str, Any]:
  """Seconds of a training's first stretch and of those that go on.

  Args:
    path: the config, as `mdm train` takes it.
    overrides: "section.key=value" each.
    rounds: stretches that go on; their medians are told.
    patience_s: how long a stretch may take to log a step.

  Returns:
    `numbers`, the `stretches` that they are taken from, and `hardware`.

  Raises:
    ValueError: the training fails, or logs no step in time.
  """
  if rounds < 1:
    raise ValueError(f"--rounds {rounds} is too few; give 1 or more.")
  sets = [*overrides, "train.log_every=1", "train.eval_every=0"]
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-m", "mdm.cli", "train", str(path)]
    command += ["--workdir", folder, *(x for one in sets for x in ("--set", one))]
    stretches = [
      take_stretch(command, Path(folder), patience_s) for _ in range(rounds + 1)
    ]
  return {
    "numbers": summarise(stretches),
    "stretches": stretches,
    "hardware": describe_hardware(),
  }


def take_stretch(
  command: Sequence[str], workdir: Path, patience_s: float
) -> dict[str, float]:
  """Trains until one more step is logged, asks to stop; the stretch's seconds.

  Returns:
    Seconds per bucket of the clock, `wall` of all, and `first_row`, from outside: from
    the process's start until its first step is in the metrics' file.
  """
  logged = _size(workdir / FILE)
  began = time.perf_counter()
  with tempfile.TemporaryFile("w+") as said:
    process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
      first_row = _await_row(process, workdir / FILE, logged, began + patience_s)
      process.send_signal(signal.SIGTERM)
      status = process.wait(patience_s)
    except subprocess.TimeoutExpired:
      first_row, status = 0.0, 1
    finally:
      process.kill()
      process.wait()
    if not first_row or status:
      said.seek(0)
      lines = said.read().strip().splitlines() or [f"no step in {patience_s:g} s"]
      raise ValueError(f"the training ended early (status {status}): {lines[-1]}")
  times = read_times(workdir / GOODPUT)
  seconds = {name: times[f"time/{name}_s"] for name in (*BUCKETS, "wall")}
  return {**seconds, "first_row": first_row - began}


def summarise(stretches: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Numbers of the first stretch, and medians over those that went on.

  Args:
    stretches: seconds of each, the first without a checkpoint to read.
  """
  first, later = stretches[0], stretches[1:]
  names = ("start", "data", "checkpoint", "compile", "first_row")
  return {
    "fresh/cold_s": _cold(first),
    "fresh/first_row_s": first["first_row"],
    "resume/cold_s": statistics.median(map(_cold, later)),
    "resume/cold_max_s": max(map(_cold, later)),
  } | {f"resume/{n}_s": statistics.median(one[n] for one in later) for n in names}


def _cold(stretch: Mapping[str, float]) -> float:
  """Seconds that are neither compilation nor steps."""
  return stretch["wall"] - stretch["compile"] - stretch["step"]


def _await_row(
  process: subprocess.Popen, file: Path, logged: int, deadline: float
) -> float:
  """When the file grew; 0 if the process ended or the time ran out before."""
  while process.poll() is None and time.perf_counter() < deadline:
    if _size(file) > logged:
      return time.perf_counter()
    time.sleep(PAUSE_S)
  return 0.0


def _size(file: Path) -> int:
  """Bytes; 0 for a file that is not there."""
  return file.stat().st_size if file.exists() else 0
