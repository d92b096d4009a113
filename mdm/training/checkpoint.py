"""Checkpoints: Orbax, asynchronous, atomic, verified when read.

A checkpoint holds the state and a `meta` record: step, config, versions, mesh and, for
each leaf of the state, its shape, dtype and a fingerprint. A fingerprint is the sum,
modulo 2^32, of the leaf's words, each mixed one to one with its position: it does not
depend on how the leaf is sharded, any one changed word changes it, and two that changed
places almost surely do. Reading compares names and shapes before it touches arrays, and
fingerprints after, so a wrong or damaged checkpoint is never used in silence.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import logging
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from mdm.training.processes import agreed, is_first
from mdm.training.state import State, leaf_paths

PyTree = Any
FOLDER = "checkpoints"
Leaves = Mapping[str, Mapping[str, Any]]
LEAF_KEYS = ("shape", "dtype", "fingerprint")
COMMITTED = "commit_success.txt"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's errors are raised too


class CheckpointError(ValueError):
  """A checkpoint is missing, damaged or of another model."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
  """The checkpoints of one run."""

  folder: Path
  manager: ocp.CheckpointManager

  def save(self, state: State, meta: Mapping[str, Any]) -> None:
    """Starts saving the state; returns once it is safe to donate its buffers.

    Raises:
      CheckpointError: an earlier save failed (no space left, no permission).
    """
    step = int(state.step)
    record = {**meta, "step": step, "leaves": describe(state)}
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(record)
    )
    self.wait()
    with self._named_failure(f"step {step}"):
      self.manager.save(step, args=args, force=True)

  def wait(self) -> None:
    """Blocks until what was started is on disk.

    Raises:
      CheckpointError: it could not be written; older checkpoints are untouched.
    """
    with self._named_failure("the newest checkpoint"):
      self.manager.wait_until_finished()

  def steps(self) -> list[int]:
    """Steps that have a checkpoint, oldest first; one still being written included."""
    return sorted(self.manager.all_steps())

  def close(self) -> None:
    """Releases threads; what was started is finished first.

    A save that fails here was either waited for, and raised then, or belongs to a run
    that ends with an error of its own.
    """
    with contextlib.suppress(Exception), _quiet():
      self.manager.wait_until_finished()
    self.manager.close()

  def restore(self, target: State, step: int | None = None) -> State:
    """The state saved at `step` (None: the newest), laid out as `target` says.

    Args:
      target: shapes, dtypes and shardings of the wanted state.
      step: which checkpoint.

    Raises:
      CheckpointError: there is none, it holds another model's state, or it is damaged.
    """
    step, path, leaves = self._find(step)
    check_leaves(leaves, target, path)
    args = ocp.args.StandardRestore(target)
    state = self._read(step, path, state=args)["state"]
    _check_fingerprints(leaves, state, path)
    return state

  def restore_variables(self, step: int | None = None) -> tuple[PyTree, int]:
    """What `method.apply` takes, without the optimiser, on one device; and its step.

    Needs no target: names and shapes are those of the checkpoint's own record. The
    device is the same whatever mesh is set.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    step, path, record = self._find(step)
    roots = (
      "ema" if any(n.startswith("ema/") for n in record) else "params",
      "collections",
    )
    target: dict[str, Any] = {}
    device = jax.local_devices()[0]
    place = jax.sharding.SingleDeviceSharding(device)
    for name, leaf in record.items():
      *parents, last = name.split("/")
      if parents and parents[0] in roots:
        node = functools.reduce(lambda d, key: d.setdefault(key, {}), parents, target)
        node[last] = jax.ShapeDtypeStruct(leaf["shape"], leaf["dtype"], sharding=place)
    wanted = ocp.args.PyTreeRestore(
      item=target,
      restore_args=ocp.checkpoint_utils.construct_restore_args(target),
      partial_restore=True,
    )
    with jax.set_mesh(jax.sharding.Mesh([device], ("data",))):
      found = self._read(step, path, state=wanted)["state"]
      _check_fingerprints(record, found, path)
    return {"params": found[roots[0]], **found.get("collections", {})}, step

  def record(self, step: int | None = None) -> dict[str, Any]:
    """What was noted beside the state: step, config, versions, mesh, hardware, leaves.

    Raises:
      CheckpointError: there is no such checkpoint, or it is damaged.
    """
    step, path, _ = self._find(step)
    return self._read(step, path, meta=ocp.args.JsonRestore())["meta"]

  def restore_newest_sound(self, target: State) -> State | None:
    """The newest checkpoint that is whole; damaged ones are set aside with a warning.

    Returns None if there is none at all.

    Raises:
      CheckpointError: checkpoints exist, but none can be used.
    """
    damaged: dict[int, CheckpointError] = {}
    for step in reversed(self.steps()):
      try:
        state = self.restore(target, step)
      except WrongCheckpointError:
        raise
      except CheckpointError as error:
        damaged[step] = error
        continue
      for bad, why in damaged.items():
        aside = self._set_aside(bad)
        if is_first():
          warnings.warn(f"{why} Moved to {aside}; using step {step}.", stacklevel=2)
      return state
    if damaged:  # all stay where they are: moved away, the next call would start anew
      raise CheckpointError(
        f"none of the {len(damaged)} checkpoints in {self.folder} can be read "
        f"({next(iter(damaged.values()))}); start again in another --workdir."
      )
    return None

  def _find(self, step: int | None) -> tuple[int, Path, Leaves]:
    self.wait()
    step = step if step is not None else self.manager.latest_step()
    if step is None or step not in self.manager.all_steps():
      raise CheckpointError(
        f"{self.folder} holds no checkpoint of step {step}; train first."
      )
    path = self.folder / str(step)
    if not (path / COMMITTED).exists():
      raise CheckpointError(_damaged(path, f"{COMMITTED} is missing"))
    meta = self._read(step, path, meta=ocp.args.JsonRestore())["meta"]
    leaves = meta.get("leaves", {})
    if not leaves or any(set(leaf) != set(LEAF_KEYS) for leaf in leaves.values()):
      raise CheckpointError(_damaged(path, "its record of leaves is not whole"))
    return step, path, leaves

  def _read(self, step: int, path: Path, **items: Any) -> Any:
    try:
      with agreed(), _quiet():
        args = ocp.args.Composite(**items)
        if jax.process_count() == 1:
          return self.manager.restore(step, args=args)
        with contextlib.closing(_reader_of_its_own()) as reader:
          return reader.restore(path, args=args)
    except Exception as error:
      raise CheckpointError(_damaged(path, _first_line(error))) from error

  def _set_aside(self, step: int) -> Path:
    aside = self.folder.parent / "damaged" / str(step)
    with agreed():
      if is_first():
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        shutil.move(self.folder / str(step), aside)
    self.manager.reload()
    return aside

  @contextlib.contextmanager
  def _named_failure(self, what: str) -> Iterator[None]:
    try:
      with _quiet():
        yield
    except Exception as error:
      kept = self.steps()
      last = f"the last good one is step {kept[-1]}" if kept else "there is none yet"
      raise CheckpointError(
        f"could not save {what} in {self.folder} ({_first_line(error)}); {last}. Free "
        "some space, then run the same command again."
      ) from error


class WrongCheckpointError(CheckpointError):
  """A checkpoint is whole, but of another model."""


def open_checkpoints(
  workdir: Path, keep: int = 1, *, reads_only: bool = False
) -> Checkpoints:
  """The checkpoints below a run's folder.

  Args:
    workdir: the run's folder.
    keep: how many of the newest stay.
    reads_only: nothing is changed, so that a run in progress can be looked at; if
      False, leftovers of a killed save are removed.
  """
  folder = Path(workdir).resolve() / FOLDER
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    create=not reads_only,
    cleanup_tmp_directories=not reads_only,
    read_only=reads_only,
    enable_async_checkpointing=True,
  )
  _hush_late_writes()
  with _quiet():
    return Checkpoints(folder, ocp.CheckpointManager(folder, options=options))


def has_checkpoints(workdir: str | Path) -> bool:
  """Whether a run's folder holds any, sound or not."""
  return any(path.name.isdigit() for path in (Path(workdir) / FOLDER).glob("*"))


def versions() -> dict[str, str]:
  """Versions of the packages that decide what a checkpoint means."""
  found = {}
  for package in PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[package] = importlib.metadata.version(package)
  return found


def describe(state: PyTree) -> dict[str, dict[str, Any]]:
  """Shape, dtype and fingerprint of every leaf, by path."""
  leaves = leaf_paths(state)
  prints = jax.device_get(_fingerprints(leaves))
  return {
    path: {
      "shape": list(leaf.shape),
      "dtype": str(leaf.dtype),
      "fingerprint": int(prints[path]),
    }
    for path, leaf in leaves.items()
  }


def check_leaves(saved: Mapping[str, Any], target: State, path: Path) -> None:
  """Raises WrongCheckpointError, listing leaves, unless names, shapes, dtypes agree."""
  wanted = leaf_paths(target)
  missing = [name for name in wanted if name not in saved]
  unexpected = [name for name in saved if name not in wanted]
  misshapen = [
    f"{name} is {saved[name]['dtype']}{saved[name]['shape']} there, "
    f"{leaf.dtype}{list(leaf.shape)} here"
    for name, leaf in wanted.items()
    if name in saved
    and (saved[name]["shape"], saved[name]["dtype"])
    != (list(leaf.shape), str(leaf.dtype))
  ]
  if missing or unexpected or misshapen:
    parts = [
      f"{label} ({len(names)}): {', '.join(names[:10])}"
      for label, names in (
        ("missing", missing), ("unexpected", unexpected), ("mismatched", misshapen)
      )
      if names
    ]  # fmt: skip
    raise WrongCheckpointError(
      f"checkpoint {path} is of another model; {'; '.join(parts)}. Use the config it "
      "was trained with, or another --workdir."
    )


def _check_fingerprints(saved: Mapping[str, Any], state: PyTree, path: Path) -> None:
  found = describe(state)
  bad = [n for n in found if found[n]["fingerprint"] != saved[n]["fingerprint"]]
  if bad:
    what = f"fingerprint of {', '.join(bad[:3])} differs"
    raise CheckpointError(_damaged(path, what))


@jax.jit
def _fingerprints(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
  def bits(x: jax.Array) -> jax.Array:
    """The leaf's fingerprint."""
    width = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    words = x if x.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(x, width)
    place = jnp.arange(x.size, dtype=jnp.uint32).reshape(x.shape)
    mixed = words.astype(jnp.uint32) + place * jnp.uint32(0x9E3779B1)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
    return mixed.sum(dtype=jnp.uint32)

  return {path: bits(leaf) for path, leaf in leaves.items()}


def _reader_of_its_own() -> ocp.Checkpointer:
  """Reads this process's shards, and waits for no other, which may meet an error."""
  number = jax.process_index()
  options = ocp.options.MultiprocessingOptions(
    primary_host=number, active_processes={number}, barrier_sync_key_prefix=f"{number}"
  )
  handler = ocp.CompositeCheckpointHandler(
    composite_options=ocp.CompositeOptions(multiprocessing_options=options)
  )
  return ocp.Checkpointer(handler, multiprocessing_options=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Orbax's own notes on its defaults say nothing that a user of a run can act on."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    yield


@functools.cache
def _hush_late_writes() -> None:
  """Drops the complaints of writes that outlive a failed save, which itself is raised.

  They report to an event loop that is closed by then, a stack trace for each.
  """
  told = sys.unraisablehook

  def hook(info: Any) -> None:
    """Passes on all but what a closed event loop says."""
    if str(info.exc_value) != "Event loop is closed":
      told(info)

  sys.unraisablehook = hook


def _damaged(path: Path, why: str) -> str:
  return f"checkpoint {path} is damaged ({why}); delete it to use the one before."


def _first_line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  line = text.splitlines()[0]  # what happened comes first, why comes last
  return line if len(line) <= 200 else f"{line[:80]} ... {line[-120:]}"
