"""PyTorch in a process of its own, beside us in the same rounds.

The process may belong to another interpreter, so that nothing here depends on PyTorch;
what it runs is `attention/in_torch.py`, or another file that answers as that does.
"""

import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from mdm.evaluation.attention.entrants import (
  LEAST_S,
  MEMORY_SHARE,
  Entrant,
  free_mib,
)
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.peers import SAME, TORCH_PEERS
from mdm.evaluation.attention.problems import Problem
from mdm.kernels.eviction import eviction_times
from mdm.training.hardware import count_cores

SCRIPT = Path(__file__).with_name("attention") / "in_torch.py"


class TorchProcess:
  """PyTorch in a process, which attends when told to.

  Args:
    python: the interpreter.
    script: what it runs; None for `SCRIPT`.
    needs: modules that it must have.

  Raises:
    ValueError: the interpreter cannot be run, or lacks a module.
  """

  def __init__(
    self,
    python: str | Path,
    script: Path | None = None,
    needs: Sequence[str] = ("torch", "numpy"),
  ) -> None:
    check = [str(python), "-c", f"import {', '.join(needs)}"]
    try:
      found = subprocess.run(check, capture_output=True, text=True, check=False)
    except OSError as error:
      raise ValueError(f"--torch {python} cannot be run ({error.strerror}).") from None
    if found.returncode:
      reason = found.stderr.strip().splitlines()[-1:] or ["it failed"]
      raise ValueError(
        f"--torch {python} has no PyTorch to measure ({reason[0]}); install "
        f"{' and '.join(needs)} there."
      )
    self.folder = tempfile.TemporaryDirectory()
    self.process = subprocess.Popen(
      [str(python), "-c", (script or SCRIPT).read_text()],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      cwd=self.folder.name,
    )

  def __enter__(self) -> "TorchProcess":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    self.process.kill()
    self.process.communicate()
    self.folder.cleanup()

  def ask(self, **request: Any) -> dict[str, Any]:
    """The answer to one request.

    Raises:
      ValueError: the process has ended.
    """
    if self.process.stdin is None or self.process.stdout is None:
      raise ValueError("the PyTorch process has no pipes.")
    try:
      self.process.stdin.write(json.dumps(request) + "\n")
      self.process.stdin.flush()
      line = self.process.stdout.readline()
    except OSError:
      line = ""
    if not line:
      raise ValueError("the PyTorch process ended; it may have run out of memory.")
    answer: dict[str, Any] = json.loads(line)
    return answer

  def open(
    self, names: Sequence[str], case: Case, problem: Problem, dtype: str
  ) -> tuple[list[Entrant], list[str]]:
    """Its entrants on a problem, and notes."""
    wanted = [name for name in names if name in TORCH_PEERS]
    notes = []
    rows = case.batch * case.heads * problem.query.shape[1]
    masks_mib = 6 * 4 * rows * case.length / 2**20
    if "torch_mask" in wanted and masks_mib > MEMORY_SHARE * free_mib():
      wanted.remove("torch_mask")
      notes.append(
        f"torch_mask at N = {case.length}: needs about {masks_mib:,.0f} MiB: not "
        "measured"
      )
    path = str(Path(self.folder.name) / "problem.npz")
    end = np.asarray(eviction_times(problem.score, case.width))
    arrays: dict[str, np.ndarray] = {
      k: np.asarray(x, np.float32) for k, x in problem._asdict().items()
    }
    arrays["end"] = end
    with Path(path).open("wb") as file:
      np.savez(file, allow_pickle=False, **arrays)
    kinds = ["forward"] if case.is_step else ["forward", "both"]
    threads = count_threads()
    asked = {"names": wanted, "kinds": kinds, "threads": threads}
    told = self.ask(load=path, dtype=dtype, **asked)
    on = f"PyTorch {told['version']} on {told['device']}"
    notes.append(f"{on}, {threads} threads" if threads else on)
    notes += [f"{name}: {why}: not measured" for name, why in told["failed"].items()]
    return [
      self._entrant(name, case, kinds, float(told["keys_read"][name]))
      for name, kinds in told["kinds"].items()
      if kinds
    ], notes

  def rates(self, dtype: str) -> dict[str, float]:
    """What its products and exponentials reach; see `rates.py`."""
    found = self.ask(rates=dtype, threads=count_threads())
    return {name: float(rate) for name, rate in found.items()}

  def _entrant(
    self, name: str, case: Case, kinds: Sequence[str], keys_read: float
  ) -> Entrant:
    def measure(kind: str) -> float:
      """Seconds of one call."""
      return float(self.ask(time=name, kind=kind, least_s=LEAST_S)["seconds"])

    def result() -> np.ndarray:
      """Results [b n h d]."""
      path = str(Path(self.folder.name) / "result.npy")
      self.ask(result=name, path=path)
      return np.load(path)

    return Entrant(
      name,
      "ideal" if name in SAME else "dense",
      keys_read,
      {kind: functools.partial(measure, kind) for kind in kinds},
      result,
      {},
    )


def count_threads() -> int:
  """As many as JAX has on a CPU; 0 leaves it to PyTorch."""
  return count_cores() if jax.default_backend() == "cpu" else 0


def has_torch() -> bool:
  """Whether the interpreter that runs has PyTorch."""
  return importlib.util.find_spec("torch") is not None


def torch_python(chosen: str | None) -> str | None:
  """The interpreter for PyTorch's process: the chosen one, or this if it has it."""
  return chosen or (sys.executable if has_torch() else None)
