"""RESULTS.md, made from stored results, so that no figure in it is written by hand.

A folder holds `contents.json` (title, opening text, names of the sections in order), a
JSON file for each section and one in `claims/` for each claim. A section has a title,
the commands that print its figures, hardware, date, and parts in order:

  {"text": [line, ...]}                Markdown as it stands
  {"columns": [...], "rows": [...]}    a table; a column may have a "format"
  {"overview": true}                   a row for what each claim of the section says
  {"claim": "mae"}                     tables of claims/mae.json, from every seed
  {"figures": {...}}                   what a benchmark wrote with `--json`, by name

A column is a name, or {"name": ..., "format": ...}.
A cell is a text as it stands, null for none, or a number or a list of numbers, which
the column's format ("{:.1f} / {:.1f} ms") turns into text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm.evaluation.claims import Claim, summarize

CONTENTS = "contents.json"
HEADS = ("paper", "claim", "published", "ours", "command", "seeds")
Part = Mapping[str, Any]


def render_results(folder: str | Path) -> str:
  """The whole page as Markdown.

  Raises:
    ValueError: a file is missing or holds something else than it should.
  """
  folder = Path(folder)
  contents = read_result(folder / CONTENTS)
  blocks = [f"# {contents['title']}", "\n".join(contents["text"])]
  for name in contents["sections"]:
    blocks += render_section(read_result(folder / f"{name}.json"), folder / "claims")
  return "\n\n".join(block for block in blocks if block) + "\n"


def render_section(section: Mapping[str, Any], claims_folder: Path) -> list[str]:
  """A section's title and parts, a block of Markdown each."""
  parts = section["parts"]
  records = {
    part["claim"]: read_result(claims_folder / f"{part['claim']}.json")
    for part in parts
    if "claim" in part
  }
  blocks = [f"## {section['title']}"]
  for part in parts:
    blocks += _render_part(part, records)
  return blocks


def render_table(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
  """A Markdown table of cells, each as its column's format says.

  Raises:
    ValueError: a row has another number of cells than there are columns, or a column
      of numbers has no format.
  """
  heads = [c if isinstance(c, str) else c["name"] for c in columns]
  formats = [None if isinstance(c, str) else c.get("format") for c in columns]
  lines = [_line(heads), "|---" * len(heads) + "|"]
  for row in rows:
    if len(row) != len(heads):
      raise ValueError(
        f"a row of {len(row)} cells, {row}, is in a table of {len(heads)} columns; "
        "write null where there is nothing."
      )
    lines.append(_line([format_cell(c, f) for c, f in zip(row, formats, strict=True)]))
  return "\n".join(lines)


def format_cell(cell: Any, form: str | None) -> str:
  """A cell's text: numbers by the column's format, texts and null as they are."""
  if cell is None:
    return ""
  if isinstance(cell, str):
    return cell
  if form is None:
    raise ValueError(
      f'{cell} is in a column without a format; give it one, as in "{{:.3f}}".'
    )
  return form.format(*cell) if isinstance(cell, list) else form.format(cell)


def render_claim(record: Mapping[str, Any]) -> str:
  """A claim's command, its tables from every seed's numbers, and what is said of it."""
  count = len(next(iter(record["results"].values())))
  opening = record.get("before") or [
    f"`{record['command']}`, {record['hardware']}, mean and standard deviation over "
    f"{count} seeds:"
  ]
  tables = summarize(claim_of(record), record["results"])
  blocks = ["\n".join(opening), tables, "\n".join(record.get("after", ()))]
  return "\n\n".join(block for block in blocks if block)


def claim_of(record: Mapping[str, Any]) -> Claim:
  """What a stored claim compares, without the configs that it trained."""
  arms: Mapping[str, Sequence[str]] = dict.fromkeys(record["results"], ())
  return Claim(
    title=record["title"],
    base="",
    arms=arms,
    compare=record["compare"],
    report=record["report"],
  )


def flatten(figures: Any, name: str = "") -> dict[str, Any]:
  """Numbers and texts of a benchmark's JSON by name; what is nested is joined by /."""
  if isinstance(figures, Mapping):
    items = [(str(key), value) for key, value in figures.items()]
  elif isinstance(figures, list):
    items = [(str(place), value) for place, value in enumerate(figures)]
  else:
    return {name: figures}
  found: dict[str, Any] = {}
  for key, value in items:
    found |= flatten(value, f"{name}/{key}" if name else key)
  return found


def read_result(path: Path) -> dict[str, Any]:
  """One stored file.

  Raises:
    ValueError: it is not there, or is no JSON object.
  """
  try:
    found = json.loads(path.read_text("utf-8"))
  except FileNotFoundError:
    raise ValueError(
      f"{path} is missing; results are stored in a checkout, name another --folder."
    ) from None
  except json.JSONDecodeError as error:
    raise ValueError(f"{path} is no JSON ({error}); mend it there.") from None
  if not isinstance(found, dict):
    raise ValueError(f"{path} holds no JSON object; see mdm/evaluation/results.py.")
  return found


def _render_part(part: Part, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """The blocks of one part."""
  if "text" in part:
    return ["\n".join(part["text"])]
  if "rows" in part:
    return [render_table(part["columns"], part["rows"])]
  if "overview" in part:
    return [_render_overview(records)]
  if "claim" in part:
    return [render_claim(records[part["claim"]])]
  if "figures" in part:
    rows = [(f"`{k}`", _plain(v)) for k, v in flatten(part["figures"]).items()]
    return [render_table(("number", "figure"), rows)]
  raise ValueError(
    f"a part of keys {sorted(part)} is none of text, rows, overview, claim, figures; "
    "see mdm/evaluation/results.py."
  )


def _render_overview(records: Mapping[str, Mapping[str, Any]]) -> str:
  """A row for each thing that a claim of the section says."""
  rows = []
  for record in records.values():
    count = len(next(iter(record["results"].values())))
    for said in record.get("overview", ()):
      row = {"command": "below", "seeds": str(count)} | said
      rows.append([row[name] for name in HEADS])
  return render_table(HEADS, rows)


def _plain(value: Any) -> str:
  """A figure of a benchmark: four significant digits, texts as they are."""
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
  """One line of a table; empty cells take one space."""
  return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
