"""What every config of a folder takes, compiled one by one: rows, and a table of them.

Each is compiled by a process of its own, which gives back its memory and has as many
CPU devices as asked for. Rows are kept in a file, so that a table that was interrupted
goes on where it stopped, and only what has changed since is compiled again.
"""

import ast
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mdm.training import config
from mdm.training.forecast import size_of

Row = dict[str, Any]
HEADS = ("config", "parameters", "devices", "memory of each", "sends a step",
         "longest floor", "at best")  # fmt: skip
FLAGS = "--xla_backend_optimization_level=0"  # programs here are looked at, never run
_COMMAND = re.compile(r"^\s*mdm compile ((?:[^\n\\]|\\\n)+)", re.MULTILINE)


class Job(NamedTuple):
  """One compilation: a config, and the options of `mdm compile` that go with it."""

  path: Path
  options: tuple[str, ...]

  def __str__(self) -> str:
    return shlex.join([self.path.as_posix(), *self.options])

  @property
  def fingerprint(self) -> str:
    """Of all that decides the row: the whole config, the options, JAX."""
    import jax

    known = [config.to_json(config.load(self.path)), *self.options, jax.__version__]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def find_jobs(folder: Path, options: Sequence[str] = ()) -> list[Job]:
  """What is to be compiled of a folder, in the order of names.

  Args:
    folder: of configs, its own folders included; those of claims are left out.
    options: of `mdm compile`, for every config. Without any, what the configs' headers
      say: each line `mdm compile CONFIG OPTIONS`, which may go on after a backslash.

  Raises:
    ValueError: there is nothing to compile.
  """
  paths = [p for p in sorted(folder.rglob("*.py")) if "method" in config.read_python(p)]
  jobs = [Job(path, tuple(options)) for path in paths]
  if not options:
    jobs = [Job(path, said) for path in paths for said in read_header(path)]
  if not jobs:
    raise ValueError(
      f"{folder} has no config" + ("" if options else " whose header names a command "
      "`mdm compile`") + "; give a folder of configs, and --devices or --topology."
    )  # fmt: skip
  return jobs


def read_header(path: Path) -> list[tuple[str, ...]]:
  """The options of each command `mdm compile` in a config's header."""
  text = ast.get_docstring(ast.parse(path.read_text())) or ""
  lines = [found.replace("\\\n", " ") for found in _COMMAND.findall(text)]
  return [tuple(shlex.split(line, comments=True)[1:]) for line in lines]


def compile_jobs(jobs: Sequence[Job], store: Path | None = None) -> Iterator[Row]:
  """The row of each job, as soon as it is known.

  A row is what `Compiled.to_json` gives but the parameters, and "config", "options",
  "fingerprint"; "error" instead of the rest where it does not compile.

  Args:
    jobs: what to compile.
    store: a JSON file of rows; those of unchanged configs are taken from it, others
      written to it.
  """
  rows = _read_store(store)
  for job in jobs:
    key, fingerprint = str(job), job.fingerprint
    known = rows.get(key)
    if known is None or known["fingerprint"] != fingerprint or "error" in known:
      found = run_job(job)
      named = {"config": job.path.as_posix(), "options": list(job.options)}
      rows[key] = {**named, "fingerprint": fingerprint, **found}
      if store is not None:
        store.write_text(json.dumps(rows, indent=2) + "\n")
    yield rows[key]


def run_job(job: Job, run: Callable[..., Any] = subprocess.run) -> Row:
  """What a process of its own finds of a job.

  Args:
    job: what to compile.
    run: starts processes.
  """
  command = [sys.executable, "-m", "mdm.cli", "compile", job.path.as_posix()]
  environment = {"XLA_FLAGS": FLAGS, **os.environ}
  if "--devices" in job.options:
    count = job.options[job.options.index("--devices") + 1]
    environment |= {"JAX_NUM_CPU_DEVICES": count, "JAX_PLATFORMS": "cpu"}
  done = run(
    [*command, *job.options, "--json", "-"],
    env=environment, capture_output=True, text=True, check=False,
  )  # fmt: skip
  if done.returncode == 0:
    found: Row = json.loads(done.stdout)
    found.pop("table", None)
    return found
  said = [x for x in done.stderr.splitlines() if x.startswith("mdm: ")]
  told = said[-1].removeprefix("mdm: ") if said else f"it ended with {done.returncode}."
  return {"error": told}


def draw_table(rows: Sequence[Row]) -> str:
  """Rows as a table in Markdown."""
  lines = [HEADS, ("---",) * len(HEADS), *map(_cells, rows)]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def check_rows(rows: Sequence[Row]) -> None:
  """Raises ValueError if any config does not compile."""
  bad = [row["config"] for row in rows if "error" in row]
  if bad:
    raise ValueError(
      f"{len(bad)} of {len(rows)} do not compile: {', '.join(bad)}; the table says why."
    )


def _cells(row: Row) -> tuple[str, ...]:
  """One row's cells."""
  sets = [x for k, x in enumerate(row["options"]) if row["options"][k - 1] == "--set"]
  name = "/".join(Path(row["config"]).with_suffix("").parts[-2:])
  name = " ".join([f"`{name}`", *(f"`{setting}`" for setting in sets)])
  if "error" in row:
    return (name, f"does not compile: {row['error']}", *("",) * (len(HEADS) - 2))
  where = row["topology"] or f"{row['devices']}"
  return (name, f"{row['parameters']:,}", where, *_amounts(row))


def _amounts(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
  """Memory, what is sent, the longest floor and the rate of a row."""
  memory = size_of(row["memory"]["total"])
  if row["capacity"] is not None:
    over = row["topology"] is None and row["memory"]["total"] > row["capacity"]
    memory += f" of {size_of(row['capacity'])}" + (", **too much**" if over else "")
  sums: dict[str, float] = {}
  for one in row["traffic"]:
    sums[one["kind"]] = sums.get(one["kind"], 0.0) + one["bytes"]
  sends = ", ".join(f"{kind} {size_of(sent)}" for kind, sent in sums.items())
  floors = {name: s for name, s in row["seconds"].items() if name != "step"}
  if not floors:
    return memory, sends or "nothing", "", ""
  longest = max(floors, key=lambda name: floors[name])
  rates = row["rates"]
  name = "tokens_per_s" if "tokens_per_s" in rates else next(iter(rates))
  said = f"{rates[name]:,.0f} {name.replace('_per_s', '/s')}"
  return memory, sends or "nothing", f"{longest} {1e3 * floors[longest]:.3g} ms", said


def _read_store(store: Path | None) -> dict[str, Row]:
  """Rows that were kept.

  Raises:
    ValueError: the file holds something else.
  """
  if store is None or not store.exists():
    return {}
  try:
    rows = json.loads(store.read_text())
    assert all("fingerprint" in row for row in rows.values())
  except (ValueError, AttributeError, TypeError, AssertionError):
    raise ValueError(
      f"{store} holds no rows of `mdm compile`; name another file, or delete it."
    ) from None
  return dict(rows)
