"""The toy's training in several processes on this machine, never more than one at once.

Whatever happens, all processes of a `Peers` are gone when it is left.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mdm.training.writers import read_rows
from toys import masked, rig

HEARTBEAT_S = 10
LOCK = Path(tempfile.gettempdir()) / f"mdm-peers-{os.getuid()}.lock"
SETTINGS = ("--set", "sharding.preset=fsdp")


def find_port() -> int:
  """A port that was free just now."""
  with socket.socket() as found:
    found.bind(("localhost", 0))
    return found.getsockname()[1]


class Peers(contextlib.ExitStack):
  """Processes that train together; each one's files are in a folder of its own."""

  def __init__(
    self, count, workdir, *options, devices=2, only=None, missing=(), **environment
  ):
    """Starts them.

    Args:
      count: how many; 1 has no peers.
      workdir: of the run; a list has one for each.
      options: of `toys.run`, for all.
      devices: of each process.
      only: further options, by number of the process.
      missing: numbers of those that are never started.
      environment: further variables.
    """
    super().__init__()
    file = self.enter_context(LOCK.open("w"))
    fcntl.flock(file, fcntl.LOCK_EX)
    self._logs = Path(self.enter_context(tempfile.TemporaryDirectory()))
    port, self.processes = find_port(), {}
    folders = workdir if isinstance(workdir, list) else [workdir] * count
    for number in set(range(count)) - set(missing):
      env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(rig.TESTS), str(rig.TESTS.parent)]),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "MDM_HEARTBEAT_S": str(HEARTBEAT_S),
        "MDM_JOIN_S": "60",
        **environment,
      }
      if count > 1:
        env |= {
          "MDM_COORDINATOR": f"localhost:{port}",
          "MDM_NUM_PROCESSES": str(count),
          "MDM_PROCESS_ID": str(number),
        }
      words = [*SETTINGS, *options, *(only or {}).get(number, ())]
      out, err = (self._logs / f"{kind}{number}" for kind in ("out", "err"))
      with out.open("w") as out_file, err.open("w") as err_file:
        self.processes[number] = subprocess.Popen(
          [sys.executable, "-m", "toys.run", str(folders[number]), *words],
          env=env, cwd=rig.TESTS, stdout=out_file, stderr=err_file,
        )  # fmt: skip
    self.callback(self._end)

  def _end(self):
    for process in self.processes.values():
      process.kill()
      process.wait()

  def said(self, number):
    """What a process has written to standard error."""
    return (self._logs / f"err{number}").read_text()

  def wait_for(self, folder, step, seconds=90):
    """Blocks until a row of that step is written, while all processes run."""
    end = time.monotonic() + seconds
    while not any(r["step"] >= step for r in read_rows(folder / "metrics.jsonl")):
      for number, process in self.processes.items():
        assert process.poll() is None, self.said(number)
      assert time.monotonic() < end, "waited in vain"
      time.sleep(0.01)

  def signal(self, number, kind=signal.SIGTERM):
    """Sends a signal to one of them."""
    self.processes[number].send_signal(kind)

  def finish(self, seconds=90):
    """Exit statuses of all; they are killed if they take too long."""
    end = time.monotonic() + seconds
    return [
      process.wait(max(end - time.monotonic(), 0.1))
      for process in self.processes.values()
    ]

  def records(self):
    """What each that ended well tells of itself."""
    assert self.finish() == [0] * len(self.processes), [*map(self.said, self.processes)]
    texts = [(self._logs / f"out{number}").read_text() for number in self.processes]
    return [json.loads(text.splitlines()[-1]) for text in texts]


def saved(folder, step=None):
  """The state saved in a folder, by leaf, read by this one process on its devices."""
  cfg = masked.get_config()
  cfg.sharding.preset = "fsdp"
  run = rig.prepare(folder, cfg.lock())
  try:
    return rig.leaves(run.checkpoints.restore(run.abstract_state, step))
  finally:
    run.checkpoints.close()
