"""Makes numbered records in several processes; the result does not depend on how many.

A worker is a fresh interpreter that runs this file and imports one function by name. It
shares nothing with its parent but two pipes: no fork of a process that holds threads,
no second run of the caller's script.
"""

import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

CHUNK = 64  # records per message


def parallel_map(
  target: str, job: Any, count: int, *, num_workers: int | None = None
) -> Iterator[Any]:
  """`make(0), make(1), ... make(count - 1)` where `make = target(job)`, in this order.

  Args:
    target: "package.module:function"; the function takes the job and returns `make`.
    job: anything that pickles.
    num_workers: processes; None for one per core that this process may use.

  Raises:
    RuntimeError: a worker failed; the message is that of its exception.
  """
  num_workers = num_workers or available_cores()
  num_workers = min(num_workers, -(-count // CHUNK))
  if num_workers <= 1:
    make = _resolve(target)(job)
    yield from (make(index) for index in range(count))
    return
  workers = [
    _Worker((target, job, count, rank, num_workers)) for rank in range(num_workers)
  ]
  try:
    for chunk in range(-(-count // CHUNK)):
      yield from workers[chunk % num_workers].receive()
  finally:
    for worker in workers:
      worker.stop()


def available_cores() -> int:
  """Cores this process may run on."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


class _Worker:
  """One process, and a thread that reads ahead so that the process need not wait."""

  def __init__(self, order: tuple[Any, ...]) -> None:
    self._process = subprocess.Popen(
      [sys.executable, "-m", __name__],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    self._messages: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=8)
    self._stopped = threading.Event()
    pickle.dump(order, self._pipe("stdin"))
    self._pipe("stdin").close()
    self._thread = threading.Thread(target=self._read, daemon=True)
    self._thread.start()

  def receive(self) -> list[Any]:
    """The next chunk of records."""
    kind, content = self._messages.get()
    if kind == "error":
      raise RuntimeError(content)
    return content

  def stop(self) -> None:
    """Ends the process, whatever it is doing, and the thread."""
    self._stopped.set()
    self._process.kill()
    while self._thread.is_alive():
      try:  # a thread that waits for room in the queue gets it
        self._messages.get(timeout=0.01)
      except queue.Empty:
        continue
    self._pipe("stdout").close()
    self._process.wait()

  def _pipe(self, name: str) -> Any:
    return getattr(self._process, name)

  def _read(self) -> None:
    while not self._stopped.is_set():
      try:
        message = pickle.load(self._pipe("stdout"))
      except (EOFError, pickle.UnpicklingError):
        message = ("error", "a worker process ended early; was it out of memory?")
      self._messages.put(message)
      if message[0] == "error":
        return


def _resolve(target: str) -> Callable[[Any], Callable[[int], Any]]:
  """The function that a "module:name" stands for."""
  module, name = target.split(":")
  return getattr(importlib.import_module(module), name)


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
  """A worker's life: read the order, send every chunk that falls to this rank."""
  target, job, count, rank, num_workers = pickle.load(source)
  try:
    make = _resolve(target)(job)
    for chunk in range(rank, -(-count // CHUNK), num_workers):
      numbers = range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK))
      pickle.dump(("records", [make(index) for index in numbers]), sink)
      sink.flush()
  except BrokenPipeError:  # the parent is gone
    os._exit(1)
  except Exception as error:
    pickle.dump(("error", f"{error}"), sink)
    sink.flush()


if __name__ == "__main__":
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's to handle
  results = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)  # whatever else prints must not mix with the records
  _serve(sys.stdin.buffer, results)
  results.close()
