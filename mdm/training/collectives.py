"""What a compiled program sends between devices: which arrays, along which mesh axes.

Read from the program's own text (HLO) after partitioning. Sizes are what one device
has to do with; a loop's body counts as often as it runs. A sum over devices of which
each uses its own part alone is told as what it is, a reduce-scatter: compilers for
accelerators make it one, that for CPUs does not.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
BYTES = {"pred": 1, "bf16": 2}
_OPCODE = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)(?:e\d\w*)?\[([\d,]*)\]")
_HEADER = re.compile(r"^(?:ENTRY )?%([\w.-]+) \(.*\{$")
_CALL = re.compile(r"(?:calls|to_apply|body|condition|\w+_computation)=%([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%([\w.-]+)")
_COMPARE = re.compile(r"ROOT .* compare\(%[\w.-]+, %([\w.-]+)\), direction=LT")
_NUMBER = re.compile(r"%([\w.-]+) = s\d+\[\]\S* constant\((\d+)\)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{}]*\})\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
  r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))?"
  r" \{([^}]*)\}"
)
Users = dict[tuple[str, str], list[str]]
_PART = re.compile(r"'(\w+)'(?::\((\d+)\)(\d+))?")


class Collective(NamedTuple):
  """One exchange between devices.

  Attributes:
    kind: one of `KINDS`.
    axes: the mesh axes along which devices take part.
    ways: how many take part together.
    size: bytes of the whole array on one device: of what is summed or gathered.
    times: how often a run of the program does it.
  """

  kind: str
  axes: tuple[str, ...]
  ways: int
  size: int
  times: int = 1

  @property
  def sent(self) -> float:
    """Bytes that a device sends, in a ring, all times taken together."""
    share = 1.0 if self.kind == "collective-permute" else 1.0 - 1.0 / self.ways
    return self.times * self.size * share * (2.0 if self.kind == "all-reduce" else 1.0)


def find_collectives(text: str, axes: Mapping[str, int]) -> list[Collective]:
  """All exchanges of a program between two devices or more.

  Args:
    text: of a compiled program, `compiled.as_text()`.
    axes: names and sizes of the mesh, in order, as `mesh.shape`.
  """
  times, users = count_runs(text), _find_users(text)
  found: dict[tuple[str, str], Collective] = {}
  for computation, line in _lines(text):
    match = _OPCODE.search(line)
    if match is None:
      continue
    groups = read_groups(line, math.prod(axes.values()))
    along, ways = _axes_of(groups, axes, is_pairs="source_target_pairs" in line)
    if ways < 2:
      continue
    for kind, size in _sizes(match, ways, computation, line, users).items():
      one = Collective(kind, along, ways, size, times.get(computation, 1))
      key = kind, _channel(line)
      if key not in found or found[key].times < one.times:
        found[key] = one  # pieces of one exchange share a channel
  return list(found.values())


def sum_by_axes(
  found: Sequence[Collective],
) -> dict[tuple[str, tuple[str, ...]], tuple[int, float]]:
  """How many exchanges there are, and the bytes a device sends, by kind and axes."""
  sums: dict[tuple[str, tuple[str, ...]], tuple[int, float]] = {}
  for one in sorted(found, key=lambda c: (c.axes, KINDS.index(c.kind))):
    number, sent = sums.get((one.kind, one.axes), (0, 0.0))
    sums[one.kind, one.axes] = number + one.times, sent + one.sent
  return sums


def count_runs(text: str) -> dict[str, int]:
  """How often each computation of a program runs, by its name.

  A loop turns as often as the compiler tells or, where it does not, as its condition
  does: "below 12", counted from 0. Loops that end by what they find count once.
  """
  calls: dict[str, list[tuple[str, int]]] = collections.defaultdict(list)
  limits = _find_limits(text)
  for computation, line in _lines(text):
    turns, condition = _TRIPS.search(line), _CONDITION.search(line)
    times = int(turns[1]) if turns else limits.get(condition[1], 1) if condition else 1
    branches = _BRANCHES.search(line)
    names = re.findall(r"%([\w.-]+)", branches[1]) if branches else []
    calls[computation] += [(n, times) for n in (*_CALL.findall(line), *names)]
  entry = re.search(r"^ENTRY %([\w.-]+)", text, re.MULTILINE)
  runs: dict[str, int] = collections.Counter()
  waiting = [(entry[1], 1)] if entry else []
  while waiting:
    name, times = waiting.pop()
    runs[name] += times
    waiting += [(inner, times * turns) for inner, turns in calls[name]]
  return dict(runs)


def _find_limits(text: str) -> dict[str, int]:
  """What a number is compared to at the end of computations, where that is constant."""
  limits: dict[str, int] = {}
  numbers: dict[tuple[str, str], int] = {}
  for computation, line in _lines(text):
    if found := _NUMBER.search(line):
      numbers[computation, found[1]] = int(found[2])
    elif found := _COMPARE.search(line):
      limit = numbers.get((computation, found[1]))
      limits |= {} if limit is None else {computation: limit}
  return limits


def read_groups(line: str, devices: int) -> Int[np.ndarray, "groups ways"]:
  """Which devices take part together in the exchange of a line, by their numbers."""
  if match := _LISTED.search(line):
    listed = re.findall(r"\{([\d,]*)\}", match[1])
    return np.array([_numbers(group) for group in listed])
  if match := _IOTA.search(line):
    return _permuted(match[2], match[3]).reshape(_numbers(match[1]))
  if match := _MESH.search(line):
    return _read_mesh(match)
  return np.arange(devices)[None]


def _read_mesh(match: re.Match[str]) -> Int[np.ndarray, "groups ways"]:
  """Groups along axes of a mesh, or along factors of those: 'axis':(before)size."""
  sizes = {k: int(n) for k, n in re.findall(r"'(\w+)'=(\d+)", match[1])}
  wanted = {name: (before, size) for name, before, size in _PART.findall(match[4])}
  shape: list[int] = []
  chosen: list[int] = []
  for name, whole in sizes.items():
    if name not in wanted:
      shape.append(whole)
      continue
    before, size = (int(n) if n else 1 for n in wanted[name])
    size = size if wanted[name][1] else whole
    chosen.append(len(shape) + 1)
    shape += [before, size, whole // before // size]
  total = math.prod(sizes.values())
  ids = _permuted(match[2], match[3]) if match[2] else np.arange(total)
  ids = np.moveaxis(ids.reshape(shape), chosen, range(-len(chosen), 0))
  return ids.reshape(-1, math.prod(shape[axis] for axis in chosen))


def _permuted(shape: str, order: str | None) -> Int[np.ndarray, "_"]:
  """0, 1, 2, ... in a shape, its axes in another order, in a row."""
  ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
  return (ids.transpose(_numbers(order)) if order else ids).ravel()


def _axes_of(
  groups: Int[np.ndarray, "groups ways"], axes: Mapping[str, int], *, is_pairs: bool
) -> tuple[tuple[str, ...], int]:
  """Names of the axes along which devices of a group differ, and how many there are."""
  places = np.stack(np.unravel_index(groups, tuple(axes.values())))  # axis groups ways
  differ = (places != places[..., :1]).any((1, 2))
  along = tuple(n for n, does in zip(axes, differ, strict=True) if does)
  if is_pairs:
    return along, 2 if along else 1
  return along, groups.shape[1]


def _sizes(
  match: re.Match[str], ways: int, computation: str, line: str, users: Users
) -> dict[str, int]:
  """Bytes of the whole arrays of an operation, by what kind of exchange they are."""
  kind = match[2]
  sizes = [_bytes(*shape) for shape in _SHAPE.findall(match[1])]
  if match[3] and kind in ("all-gather", "collective-permute"):
    return {kind: max(sizes)}  # a start also hands on its operands
  if kind == "reduce-scatter":
    return {kind: ways * sum(sizes)}
  if kind != "all-reduce":
    return {kind: sum(sizes)}
  if computation.startswith("all-reduce-scatter"):  # the TPU compiler's form of it
    return {"reduce-scatter": sum(sizes)}
  found: dict[str, int] = {}
  for index, size in enumerate(sizes):
    is_cut = _is_cut(computation, line, index, users)
    kind = "reduce-scatter" if is_cut else "all-reduce"
    found[kind] = found.get(kind, 0) + size
  return found


def _is_cut(computation: str, line: str, index: int, users: Users) -> bool:
  """Whether a device uses its own part alone of a result of the operation in a line."""
  name = line.split(" = ")[0].strip().removeprefix("ROOT ").lstrip("%")
  lines = users.get((computation, name), [])
  for user in lines:
    if f"get-tuple-element(%{name}), index={index}," in f"{user},":
      element = user.split(" = ")[0].strip().lstrip("%")
      lines = users.get((computation, element), [])
      break
  return bool(lines) and all("%partition-id" in user for user in lines)


def _find_users(text: str) -> Users:
  """The lines that use each result, by computation and name."""
  users: Users = collections.defaultdict(list)
  for computation, line in _lines(text):
    _, is_there, right = line.partition(" = ")
    if is_there:
      for name in set(re.findall(r"%([\w.-]+)", right)):
        users[computation, name].append(line)
  return dict(users)


def _bytes(dtype: str, shape: str) -> int:
  """Bytes of an array as the text writes it: f32[8,128]."""
  width = BYTES.get(dtype) or max(int(re.sub(r"\D", "", dtype) or 8) // 8, 1)
  return width * math.prod(_numbers(shape))


def _channel(line: str) -> str:
  """What tells one exchange from others."""
  match = re.search(r"channel_id=(\d+)", line)
  return match[1] if match else line.split(" = ")[0].strip()


def _lines(text: str) -> Iterator[tuple[str, str]]:
  """Each line of a program with the name of its computation."""
  computation = ""
  for line in text.splitlines():
    if header := _HEADER.match(line):
      computation = header[1]
    else:
      yield computation, line


def _numbers(text: str | None) -> list[int]:
  """Numbers between commas."""
  return [int(n) for n in (text or "").split(",") if n]
