"""Weak scaling on paper: one step for more and more devices, the batch growing along.

What a device computes stays the same, so what it sends decides how far a step scales:
the table tells bytes by kind and axes, and the links' floor beside that of products.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from mdm.api.compile_tables import Job, Row
from mdm.training import config
from mdm.training.forecast import size_of

HEADS = ("devices", "batch", "memory of each", "each sends", "products", "links",
         "links over products", "at best")  # fmt: skip


def find_scaling(
  path: Path, names: Sequence[str], options: Sequence[str] = ()
) -> list[Job]:
  """The same step for several numbers of devices.

  Args:
    path: a config; its batch is that of the first number.
    names: topologies, "v5p:4x4x4", or numbers of CPU devices that stand for others.
    options: of `mdm compile`, for all.

  Raises:
    ValueError: a name is neither, or the batch does not grow by whole rows.
  """
  sets = [x for k, x in enumerate(options) if k and options[k - 1] == "--set"]
  batch = config.load(path, sets).train.batch
  counts = [count_devices(name) for name in names]
  jobs = []
  for name, count in zip(names, counts, strict=True):
    rows, rest = divmod(batch * count, counts[0])
    if rest:
      raise ValueError(
        f"train.batch = {batch} on {counts[0]} devices does not grow by whole rows to "
        f"{count}; use a multiple of {counts[0]}."
      )
    where = ("--topology" if ":" in name else "--devices", name)
    jobs.append(Job(path, (*where, *options, "--set", f"train.batch={rows}")))
  return jobs


def count_devices(name: str) -> int:
  """How many devices "64" or "v5p:4x4x4" are; a chip of tpu7x is two.

  Raises:
    ValueError: it is neither.
  """
  kind, _, shape = name.rpartition(":")
  sides = shape.split("x") if kind else [shape]
  if not all(side.isdecimal() and int(side) > 0 for side in sides):
    raise ValueError(
      f"--scaling {name} is no number of devices and no topology; write 8,64,256 or "
      "v5p:2x2x2,v5p:4x4x4."
    )
  return math.prod(map(int, sides)) * (2 if kind == "tpu7x" else 1)


def draw_scaling(rows: Sequence[Row]) -> str:
  """Rows as a table in Markdown."""
  lines = [HEADS, ("---",) * len(HEADS), *map(_cells, rows)]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> tuple[str, ...]:
  """One row's cells."""
  where, batch = row["options"][1], row["options"][-1].partition("=")[2]
  if "error" in row:
    told = f"does not compile: {row['error']}"
    return (where, batch, told, *("",) * (len(HEADS) - 3))
  found = sorted(row["traffic"], key=lambda one: -one["bytes"])
  most = found[0]["bytes"] if found else 0.0
  sends = ", ".join(
    f"{one['kind']} along {' x '.join(one['axes'])} {size_of(one['bytes'])}"
    for one in found
    if one["bytes"] > most / 1000
  )
  memory = size_of(row["memory"]["total"])
  start = (f"{row['devices']} ({where})", batch, memory, sends or "nothing")
  if "compute" not in row["seconds"]:
    return (*start, "", "", "", "")
  products, links = row["seconds"]["compute"], row["seconds"]["links"]
  name, rate = list(row["rates"].items())[-1]
  return (
    *start,
    f"{1e3 * products:.4g} ms",
    f"{1e3 * links:.4g} ms",
    f"{links / products:.1%}",
    f"{rate:,.0f} {name.replace('_per_s', '/s')}",
  )
