"""What comes from another run or from exported weights, not from chance.

  cfg.init = {
    "run": "runs/mae",                   # a run, exported weights, a model of mdm
    "parts": {"encoder": "encoder"},     # prefixes of paths, ours from theirs
    "except": ["encoder/stack/norm/*"],  # what is left out, on either side
  }

Every parameter of ours below a prefix must be there, with its shape, and there must be
no other. So must what a network keeps beside its parameters, as the running means of
norms ("batch_stats/..."), under the same prefixes; `except: ["batch_stats/*"]` begins
them anew. Averages and teachers start equal to the parameters, as always, and theirs
are not read; the optimiser starts anew. What was read is noted in the run, and a
resumed run reads it no more.

Here names are of all variables, "params/encoder/stem/kernel".
"""

import dataclasses
import fnmatch
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from mdm import pretrained
from mdm.interop import safetensors
from mdm.methods.base import TEACHER
from mdm.training import build, config
from mdm.training.checkpoint import open_checkpoints
from mdm.training.processes import is_first
from mdm.training.state import State, leaf_paths, set_parameters

T = TypeVar("T")
FILE = "init.json"
STACKED = re.compile(r"(^|/)blocks/")
UNROLLED = re.compile(r"(^|/)block_\d+/")
PARAMS, OTHERS = "params/", "collections/"  # of names, of those in a checkpoint
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Origin:
  """The section `init` of a config; what its key `except` holds is `leave` here.

  Attributes:
    run: folder of a run or of exported weights, or the name of a model of mdm.
    step: which checkpoint of a run; None for the newest.
    parts: prefixes of our parameters' paths to prefixes of theirs; "" is all.
    leave: patterns of names ("*/norm/*"), ours or theirs, that are neither read nor
      missed.
  """

  run: str
  step: int | None = None
  parts: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"": ""})
  leave: Sequence[str] = ()

  def __post_init__(self) -> None:
    twice = [(a, b) for a in self.parts for b in self.parts if a != b and _within(a, b)]
    if not self.parts:
      raise ValueError('init.parts = {} reads nothing; write {"": ""} to read all.')
    if twice:
      raise ValueError(
        f"init.parts: {twice[0][0]!r} lies below {twice[0][1]!r}; keep one of them."
      )

  def check(self, state: State) -> None:
    """Compares names and shapes with those of the state, reading no more.

    Raises:
      ValueError: they differ, or there are no such weights.
    """
    folder = find_folder(self.run)
    self._pair(folder, _shapes(state), read_shapes(folder, self.step))

  def apply(self, state: State, workdir: Path) -> State:
    """The fresh state with what is read; notes it in `init.json`.

    Raises:
      ValueError: names or shapes differ, or weights are missing or damaged.
    """
    folder = find_folder(self.run)
    arrays, step = read_variables(folder, self.step)
    shapes = {name: x.shape for name, x in arrays.items()}
    pairs = self._pair(folder, _shapes(state), shapes)
    taken = {ours: arrays[theirs] for ours, theirs in pairs.items()}
    params = {_show(n): x for n, x in taken.items() if n.startswith(PARAMS)}
    others = {name: x for name, x in taken.items() if not name.startswith(PARAMS)}
    note = {
      "run": self.run,
      "step": step,
      "parts": dict(self.parts),
      "except": list(self.leave),
      "parameters": sum(x.size for x in params.values()),
      "others": sum(x.size for x in others.values()),
      "fingerprint": fingerprint(params | others),
    }
    if is_first():
      (workdir / FILE).write_text(json.dumps(note, indent=2))
    return set_parameters(state, params, others)

  def _pair(self, folder: Path, ours: Shapes, theirs: Shapes) -> dict[str, str]:
    """Our names and the names to read them from."""
    wanted: dict[str, str] = {}
    offered: dict[str, str] = {}
    for mine, other in self.parts.items():
      below = {n: _moved(n, mine, other) for n in ours if _below(n, mine)}
      if not below:
        paths = [name.partition("/")[2] for name in ours]
        heads = {path.rsplit("/", k)[0] for path in paths for k in (1, 2, 3)}
        raise ValueError(config.unknown_key(mine, heads, "a prefix of our parameters"))
      wanted |= below
      offered |= {n: _moved(n, other, mine) for n in theirs if _below(n, other)}
    wanted = {a: b for a, b in wanted.items() if not self._leaves(a, b)}
    spare = [
      b
      for b, a in offered.items()
      if b not in wanted.values() and not self._leaves(a, b)
    ]
    _check_pairs(folder, wanted, spare, ours, theirs)
    return wanted

  def _leaves(self, *names: str) -> bool:
    told = {name.partition("/")[2] for name in names} | {_show(name) for name in names}
    return any(fnmatch.fnmatchcase(name, p) for name in told for p in self.leave)


def read_origin(section: Mapping[str, Any]) -> Origin | None:
  """The section `init` of a config, checked; None if it is empty.

  Raises:
    ValueError: an unknown key, or a value of a wrong type.
  """
  given = dict(section)
  if not given:
    return None
  leave, parts = given.pop("except", ()), given.get("parts", {})
  if isinstance(leave, str) or not all(isinstance(p, str) for p in leave):
    raise ValueError(f'init.except = {leave!r} is no list; write ["encoder/norm/*"].')
  if not isinstance(parts, Mapping) or not all(
    isinstance(p, str) for p in parts.values()
  ):
    raise ValueError(f'init.parts = {parts!r} is no map; write {{"ours": "theirs"}}.')
  if "leave" in given:
    raise ValueError("init.leave is no key of a config; write init.except.")
  origin = build.build_section(Origin, given, "init")
  return dataclasses.replace(origin, leave=tuple(leave))


def find_folder(run: str) -> Path:
  """The folder of a run or of weights.

  Raises:
    ValueError: there is none; the error lists the models that come with mdm.
  """
  folder = Path(run).expanduser()
  return folder if (folder / "config.json").is_file() else pretrained.find(run)


def read_shapes(folder: Path, step: int | None) -> dict[str, tuple[int, ...]]:
  """Names and shapes of what `read_variables` would give."""
  if (folder / pretrained.WEIGHTS).is_file():
    return {name: x.shape for name, x in read_variables(folder, step)[0].items()}
  checkpoints = open_checkpoints(folder, reads_only=True)
  try:
    leaves = checkpoints.record(step)["leaves"]
  finally:
    checkpoints.close()
  root = "ema/" if any(name.startswith("ema/") for name in leaves) else PARAMS
  shapes = {}
  for name, leaf in leaves.items():
    if name.startswith(root):
      shapes[PARAMS + name.removeprefix(root)] = tuple(leaf["shape"])
    elif name.startswith(OTHERS):
      shapes[name.removeprefix(OTHERS)] = tuple(leaf["shape"])
  return _without_teacher(shapes)


def read_variables(folder: Path, step: int | None) -> tuple[dict[str, np.ndarray], int]:
  """Variables by name, averaged parameters where a run has them, and their step.

  Raises:
    ValueError: weights are missing, damaged, or exported ones of another step.
  """
  if (folder / pretrained.WEIGHTS).is_file():
    arrays, header = safetensors.read_arrays(folder / pretrained.WEIGHTS)
    found = int(header.get("step", 0))
    if step not in (None, found):
      raise ValueError(f"{folder} is of step {found} alone; leave out init.step.")
    return _without_teacher(arrays), found
  checkpoints = open_checkpoints(folder, reads_only=True)
  try:
    variables, found = checkpoints.restore_variables(step)
  finally:
    checkpoints.close()
  return _without_teacher(leaf_paths(jax.device_get(variables))), found


def fingerprint(arrays: Mapping[str, np.ndarray]) -> int:
  """CRC-32 of names and bytes, in the order of the names."""
  total = 0
  for name in sorted(arrays):
    total = zlib.crc32(name.encode(), total)
    total = zlib.crc32(arrays[name].tobytes(), total)
  return total


def _check_pairs(
  folder: Path, pairs: Mapping[str, str], spare: list[str], ours: Shapes, theirs: Shapes
) -> None:
  """Raises ValueError that lists every difference, if there is one."""
  missing = [_show(b) for b in pairs.values() if b not in theirs]
  spare = [_show(b) for b in spare]
  misshapen = [
    f"{_show(b)} is {list(theirs[b])} there, {_show(a)} {list(ours[a])} here"
    for a, b in pairs.items()
    if b in theirs and theirs[b] != ours[a]
  ]
  told = [
    f"{label} ({len(names)}): {', '.join(sorted(names))}"
    for label, names in (
      ("missing", missing), ("unexpected", spare), ("misshapen", misshapen)
    )
    if names
  ]  # fmt: skip
  if not told:
    return
  remedy = "correct init.parts, or name what is to be left out in init.except"
  for lost, found in ((STACKED, UNROLLED), (UNROLLED, STACKED)):
    if any(map(lost.search, missing)) and any(map(found.search, spare)):
      remedy = "layers are stacked by scan on one side only: set scan alike in both"
  raise ValueError(f"init.run = {folder} does not fit; {'; '.join(told)}; {remedy}.")


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
  """Names and shapes of a state's variables that may be read."""
  leaves = leaf_paths({"params": state.params, **state.collections})
  return {name: tuple(leaf.shape) for name, leaf in _without_teacher(leaves).items()}


def _without_teacher(leaves: Mapping[str, T]) -> dict[str, T]:
  return {n: x for n, x in leaves.items() if not n.startswith(f"{TEACHER}/")}


def _show(name: str) -> str:
  """A name as people write it: that of a parameter without its collection."""
  return name.removeprefix(PARAMS)


def _below(name: str, prefix: str) -> bool:
  """Whether a name lies below a prefix, in whatever collection."""
  return _within(name.partition("/")[2], prefix)


def _within(path: str, prefix: str) -> bool:
  """Whether a path lies below a prefix, or is it."""
  return not prefix or path == prefix or path.startswith(prefix + "/")


def _moved(name: str, source: str, target: str) -> str:
  """A name below one prefix as it is below another, in the same collection."""
  collection, _, path = name.partition("/")
  rest = path[len(source) :].lstrip("/")
  return "/".join(part for part in (collection, target, rest) if part)
