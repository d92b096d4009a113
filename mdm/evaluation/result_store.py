"""Where results are kept: a claim's or a benchmark's JSON becomes a file of its own.

`results.py` tells what the files hold and makes the page of them.
"""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.evaluation.claims import Claim, load_claim
from mdm.evaluation.results import CONTENTS, flatten, read_result, render_results

WIDTH, LARGEST = 88, 500_000
KEPT = ("before", "after", "overview")


def describe_claim(
  claim: Claim,
  path: str | Path,
  results: Mapping[str, Sequence[Mapping[str, float]]],
  *,
  hardware: str,
) -> dict[str, Any]:
  """What is stored of a claim: its tables can be made of it, and every seed is there.

  Args:
    claim: what was compared.
    path: the claim's file.
    results: the arms' numbers, one mapping for each seed.
    hardware: in words.
  """
  name = Path(path).stem
  return {
    "title": claim.title,
    "command": f"mdm claim configs/claims/{name}.py --workdir runs/claim_{name}",
    "hardware": hardware,
    "date": datetime.date.today().isoformat(),
    "first_seed": claim.first_seed,
    "report": list(claim.report),
    "compare": [list(pair) for pair in claim.compare],
    "results": {arm: [dict(run) for run in runs] for arm, runs in results.items()},
  }


def add_result(
  path: str | Path, section: str, folder: str | Path, *, hardware: str = ""
) -> Path:
  """Keeps what `mdm claim --json` or a benchmark's `--json` wrote, and returns where.

  A claim's words (`before`, `after`, `overview`) stay what they were. Seeds that follow
  those that are stored are added to them; others take their place. A benchmark's
  figures take the place of those that the section had.

  Args:
    path: the JSON.
    section: the claim's name, or the section of a benchmark, which is made if new.
    folder: where results are kept.
    hardware: in words, for what does not say it.

  Raises:
    ValueError: the file is too large, holds no numbers, or seeds of another claim.
  """
  path, folder = Path(path), Path(folder)
  if path.is_file() and path.stat().st_size > LARGEST:
    raise ValueError(
      f"{path} is larger than {LARGEST:,} bytes; keep the figures alone."
    )
  given = read_result(path)
  if "results" in given and "compare" in given:
    return _add_claim(given, section, folder)
  if given and all(_is_arm(runs) for runs in given.values()):  # numbers of arms alone
    claim = load_claim(f"claims/{section}")
    return _add_claim(
      describe_claim(claim, section, given, hardware=hardware), section, folder
    )
  return _add_figures(given, section, folder, hardware)


def store_page(folder: str | Path, out: str | Path) -> None:
  """Writes the page of a folder of results."""
  _replace(Path(out), render_results(folder))


def check_page(folder: str | Path, out: str | Path) -> None:
  """Whether a page is the one that the stored results make.

  Raises:
    ValueError: it is another; the first line that differs is told.
  """
  wanted = render_results(folder).splitlines()
  found = Path(out).read_text("utf-8").splitlines() if Path(out).exists() else []
  if wanted == found:
    return
  pairs = zip([*wanted, "(the end)"], [*found, "(the end)"], strict=False)
  line, (ours, theirs) = next(
    (n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1]
  )
  raise ValueError(
    f"{out} is not what the results in {folder} make: line {line} is {theirs[:60]!r}, "
    f"not {ours[:60]!r}; `mdm results` writes it."
  )


def to_text(value: Any, indent: int = 0) -> str:
  """JSON whose lists and objects stay on a line where they fit in 88 columns."""
  line = json.dumps(value, ensure_ascii=False)
  if not isinstance(value, dict | list) or indent + len(line) <= WIDTH or not value:
    return line
  inner = " " * (indent + 1)
  if isinstance(value, dict):
    items = [
      f"{inner}{json.dumps(key)}: {to_text(item, indent + 1)}"
      for key, item in value.items()
    ]
  else:
    items = [inner + to_text(item, indent + 1) for item in value]
  opening, closing = "{}" if isinstance(value, dict) else "[]"
  return opening + "\n" + ",\n".join(items) + "\n" + " " * indent + closing


def write_file(path: Path, value: Mapping[str, Any]) -> Path:
  """Stores one file, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  _replace(path, to_text(dict(value)) + "\n")
  return path


def _add_claim(record: Mapping[str, Any], name: str, folder: Path) -> Path:
  """Stores a claim, and lists it in the section of claims."""
  path = folder / "claims" / f"{name}.json"
  old = read_result(path) if path.exists() else {}
  record = _join_seeds(old, record)
  write_file(path, {**record, **{key: old[key] for key in KEPT if key in old}})
  section = read_result(folder / "claims.json")
  if {"claim": name} not in section["parts"]:
    section["parts"].append({"claim": name})
    write_file(folder / "claims.json", section)
  return path


def _join_seeds(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
  """The record of both, where the new seeds are the next of the same claim.

  Raises:
    ValueError: what was claimed, or its arms, have changed since.
  """
  runs = old.get("results", {})
  count = len(next(iter(runs.values()), ()))
  if not count or new["first_seed"] != old["first_seed"] + count:
    return new
  for key in ("title", "command", "compare"):
    if old[key] != new[key]:
      raise ValueError(
        f"seeds from {new['first_seed']} do not go on with those that are stored: "
        f"{key} is {new[key]!r}, was {old[key]!r}; measure all seeds again."
      )
  if list(runs) != list(new["results"]):
    raise ValueError(
      f"seeds from {new['first_seed']} have the arms {', '.join(new['results'])}, "
      f"those that are stored {', '.join(runs)}; measure all seeds again."
    )
  joined = {arm: [*runs[arm], *new["results"][arm]] for arm in runs}
  machines = dict.fromkeys([*old["hardware"].split("; "), new["hardware"]])
  kept = {"first_seed": old["first_seed"], "hardware": "; ".join(machines)}
  return {**new, **kept, "results": joined}


def _add_figures(
  figures: Mapping[str, Any], name: str, folder: Path, hardware: str
) -> Path:
  """Stores a benchmark's figures in a section, which is made if there is none."""
  if not any(isinstance(v, int | float) for v in flatten(figures).values()):
    raise ValueError("the file has no number to keep; give what `--json FILE` wrote.")
  path = folder / f"{name}.json"
  section = read_result(path) if path.exists() else {"title": name, "parts": []}
  kept = [part for part in section["parts"] if "figures" not in part]
  section |= {
    "hardware": str(figures.get("hardware", hardware)),
    "date": datetime.date.today().isoformat(),
    "parts": [*kept, {"figures": dict(figures)}],
  }
  write_file(path, section)
  contents = read_result(folder / CONTENTS)
  if name not in contents["sections"]:
    contents["sections"].append(name)
    write_file(folder / CONTENTS, contents)
  return path


def _is_arm(runs: Any) -> bool:
  """Whether this is the numbers of an arm: a mapping for each seed."""
  return (
    isinstance(runs, list) and bool(runs) and all(isinstance(r, dict) for r in runs)
  )


def _replace(path: Path, text: str) -> None:
  """Writes a file so that a reader sees the old one or the new one, never a part."""
  temporary = path.with_suffix(".tmp")
  temporary.write_text(text, "utf-8")
  os.replace(temporary, path)
