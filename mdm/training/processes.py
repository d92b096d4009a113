"""Several processes that train as one, on JAX's own distributed runtime.

Which processes belong together is said by the environment:

  MDM_DISTRIBUTED=auto    JAX finds the others: on TPU pods, GKE and SLURM
  MDM_COORDINATOR         or: host:port of process 0, the same for all,
  MDM_NUM_PROCESSES         how many there are,
  MDM_PROCESS_ID            and which one this is, from 0
  MDM_JOIN_S              seconds to wait for all of them at the start (300)
  MDM_HEARTBEAT_S         seconds after which one that is silent counts as dead (100)

The three of the second kind go before the first; without any of them there is one
process, and nothing here does anything. All processes run the same program on the same
work folder. The first of them, number 0, alone writes and prints; all tell errors.

An error that only some processes meet must end the others, who would wait for them in
the next sum over all devices. Before the first step, and around evaluations, they
compare notes (`agreed`). Later the one that fails just goes (`leave`): JAX ends the
others once its heartbeats are missing, and often a broken connection does so at once.
"""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PyTree = Any
NAMES = ("MDM_COORDINATOR", "MDM_NUM_PROCESSES", "MDM_PROCESS_ID")
JOIN_S, HEARTBEAT_S = 300, 100
SHARED_S = 20.0  # in which a file of one host is seen by the others, on slow mounts too
LINGER_S = 3.0


class PeerError(RuntimeError):
  """Another process of this training met an error, or is gone."""


def start_processes(environment: Mapping[str, str] | None = None) -> bool:
  """Joins the processes of this training; call it before JAX looks for devices.

  A process that waits in vain for the others says so and ends, with status 1: JAX would
  end it too, but without a sentence.

  Args:
    environment: the variables above; None for those of this process.

  Returns:
    Whether there are others to join.

  Raises:
    ValueError: the variables contradict each other, or no cluster is found.
  """
  env = os.environ if environment is None else environment
  options = read_environment(env)
  if options is None:
    return False
  limit = _read_number(env, "MDM_JOIN_S", JOIN_S, least=1)
  heartbeat = _read_number(env, "MDM_HEARTBEAT_S", HEARTBEAT_S, least=1)
  alarm = threading.Timer(limit, _give_up, (limit, options))
  alarm.daemon = True
  alarm.start()
  try:
    jax.distributed.initialize(
      **options,
      initialization_timeout=limit + 60,  # JAX ends a process with a trace; ours first
      heartbeat_timeout_seconds=heartbeat,
    )
  except (ValueError, RuntimeError, OSError) as error:
    raise ValueError(
      f"the processes cannot be joined ({str(error).splitlines()[0]}); correct "
      f"{', '.join(NAMES)}, or unset MDM_DISTRIBUTED to train in one process."
    ) from error
  finally:
    alarm.cancel()
  return True


def read_environment(env: Mapping[str, str]) -> dict[str, Any] | None:
  """What JAX is told of the processes; None where there is only one.

  Raises:
    ValueError: a variable is missing, or no number, or out of range.
  """
  automatic, given = env.get("MDM_DISTRIBUTED", ""), [n for n in NAMES if env.get(n)]
  if automatic not in ("", "auto"):
    raise ValueError(
      f"MDM_DISTRIBUTED = {automatic} is unknown; write auto, or unset it."
    )
  if not given:
    return {} if automatic else None
  if missing := [name for name in NAMES if name not in given]:
    raise ValueError(
      f"{given[0]} is set, but {' and '.join(missing)} is not; set all of "
      f"{', '.join(NAMES)}."
    )
  address = env["MDM_COORDINATOR"]
  host, _, port = address.rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
    raise ValueError(
      f"MDM_COORDINATOR = {address} is no address; write HOST:PORT of process 0."
    )
  count = _read_number(env, "MDM_NUM_PROCESSES", 1, least=1)
  number = _read_number(env, "MDM_PROCESS_ID", 0, least=0)
  if number >= count:
    raise ValueError(
      f"MDM_PROCESS_ID = {number} is not below MDM_NUM_PROCESSES = {count}; number "
      f"the processes from 0 to {count - 1}."
    )
  return {
    "coordinator_address": address,
    "num_processes": count,
    "process_id": number,
    "cluster_detection_method": "deactivate",
  }


def is_first() -> bool:
  """Whether this is the process that writes and prints."""
  return jax.process_index() == 0


def check_alone(what: str) -> None:
  """Raises ValueError if there are several processes, which something cannot use."""
  if jax.process_count() > 1:
    raise ValueError(
      f"{what} runs in one process, and here are {jax.process_count()}; use one host, "
      "or train its parts with mdm train."
    )


@contextlib.contextmanager
def agreed() -> Iterator[None]:
  """Ends the block with an error in all processes as soon as it does in one.

  All must run it, and leave it at about the same time.

  Raises:
    PeerError: the block went well here, but not in another process.
  """
  if jax.process_count() == 1:
    yield
    return
  failed: Exception | None = None
  try:
    yield
  except Exception as error:
    failed = error
  texts = gather("" if failed is None else str(failed) or type(failed).__name__)
  if failed is not None:
    raise failed
  for number, text in enumerate(texts):
    if text:
      raise PeerError(f"process {number} of {len(texts)} ended: {text}")


def gather(text: str) -> list[str]:
  """The texts of all processes, by their numbers; all must call it."""
  if jax.process_count() == 1:
    return [text]
  mine = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(mine.size))
  if not sizes.max():
    return [""] * len(sizes)
  room = np.zeros(-(-int(sizes.max()) // 512) * 512, np.uint8)  # few shapes to compile
  room[: mine.size] = mine
  rows = multihost_utils.process_allgather(room)
  return [
    bytes(row[:size]).decode() for row, size in zip(rows, sizes.tolist(), strict=True)
  ]


def check_shared(folder: Path, seconds: float = SHARED_S) -> None:
  """Raises ValueError or PeerError unless all processes see the same folder.

  The first writes a file of a name that is new, the others look for it.

  Args:
    folder: there, as the first process sees it.
    seconds: how long the others look.
  """
  if jax.process_count() == 1:
    return
  token = folder / f".shared-{gather(secrets.token_hex(8))[0]}"
  try:
    with agreed():
      if is_first():
        token.touch()
    with agreed():
      _await_file(token, 0.0 if is_first() else seconds)
  finally:
    if is_first():
      token.unlink(missing_ok=True)


def _await_file(path: Path, seconds: float) -> None:
  """Waits until a file of another host is seen here."""
  end = time.monotonic() + seconds
  while not path.exists():
    if time.monotonic() >= end:
      raise ValueError(
        f"--workdir {path.parent} on {socket.gethostname()} (process "
        f"{jax.process_index()}) is not the folder that process 0 writes to; name one "
        "that all hosts share, such as a mounted bucket or network disk."
      )
    time.sleep(0.1)


def own_mesh(mesh: Mesh) -> Mesh:
  """The part of a mesh that lies on this process's devices."""
  return mesh.local_mesh if jax.process_count() > 1 else mesh


def bring_home(tree: PyTree, mesh: Mesh) -> PyTree:
  """Global arrays, whole, on this process's own devices alone; all must call it.

  Each leaf is cut there along the axes it was cut along, as far as they lie within this
  process, and travels by itself, so that no device holds more than one leaf whole.

  Args:
    tree: arrays on the mesh.
    mesh: of all devices.
  """
  if jax.process_count() == 1:
    return tree
  home = own_mesh(mesh)

  def bring(leaf: jax.Array) -> jax.Array:
    """One leaf."""
    placed = leaf.sharding
    spec = placed.spec if isinstance(placed, NamedSharding) else PartitionSpec()
    whole = multihost_utils.process_allgather(leaf, tiled=True)
    return jax.device_put(whole, NamedSharding(home, spec))

  return jax.tree.map(bring, tree)


def leave(status: int) -> NoReturn:
  """Ends a process that met an error, without waiting for the others as JAX would.

  The first lingers: with it goes the service of JAX, and takes the others along before
  they could say what they have to.
  """
  if is_first():
    time.sleep(LINGER_S)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def describe_loss(error: BaseException) -> str | None:
  """A sentence on an error of JAX that comes of another process's end, or None."""
  text = str(error)
  marks = ("gloo", "peer", "coordination", "heartbeat", "nccl", "unavailable")
  if not isinstance(error, jax.errors.JaxRuntimeError) or jax.process_count() == 1:
    return None
  if not any(mark in text.lower() for mark in marks):
    return None
  return (
    f"another of the {jax.process_count()} processes is gone "
    f"({text.splitlines()[0][:120]}); see what it said, then start all again: the same "
    "command goes on from the newest checkpoint."
  )


def _give_up(limit: int, options: Mapping[str, Any]) -> None:
  """Ends this process, for which the others never came."""
  count, number = options.get("num_processes"), options.get("process_id")
  who = "a process" if number is None else f"process {number}"
  all_of_them = "the others" if count is None else f"all {count} processes"
  address = options.get("coordinator_address") or _address()
  print(
    f"mdm: {who} on {socket.gethostname()} waited {limit} s at {address} for "
    f"{all_of_them} to join, and not all did; see that each is started with the same "
    "address and number of processes and can reach it, or raise MDM_JOIN_S.",
    file=sys.stderr,
    flush=True,
  )
  os._exit(1)


def _address() -> str:
  """Where JAX found process 0, which it tells nobody else."""
  state = getattr(sys.modules.get("jax._src.distributed"), "global_state", None)
  return getattr(state, "coordinator_address", None) or "the coordinator of the cluster"


def _read_number(env: Mapping[str, str], name: str, default: int, *, least: int) -> int:
  """A variable as a whole number."""
  text = env.get(name) or str(default)
  if not text.isdecimal() or int(text) < least:
    raise ValueError(f"{name} = {text} is no whole number from {least} on; correct it.")
  return int(text)
