"""A claim as one HTML page that needs nothing else: tables, curves and verdicts.

Curves are of what the runs logged as they learned: the loss, and those of the claim's
numbers that were measured during training. Every text is escaped.
"""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.evaluation.claims import Claim, Numbers, compare, folder_of
from mdm.evaluation.svg_curves import Curve, draw_curves, draw_interval
from mdm.training.writers import FILE, read_rows

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .7rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .9em; }
svg { font: 12px system-ui, sans-serif; fill: currentColor; }
svg.curves { width: 100%; max-width: 760px; display: block; margin: 1rem 0; }
svg.interval { width: 160px; height: 20px; }
.grid { stroke: #8884; } .axis { stroke: currentColor; }
.verdict { border-radius: .6rem; padding: .1rem .6rem; background: #8883; }
.holds { background: #26845044; } .reversed { background: #cf4a2a44; }
"""
Curves = Mapping[str, Mapping[str, Sequence[Curve]]]


def render_page(claim: Claim, record: Mapping[str, Any], curves: Curves) -> str:
  """The page.

  Args:
    claim: what was compared.
    record: command, hardware, date and results, as they are stored.
    curves: what `read_curves` found.
  """
  results = record["results"]
  count = len(next(iter(results.values())))
  facts = {"command": record["command"], "hardware": record["hardware"],
           "date": record["date"], "seeds": f"{count} from {claim.first_seed} on",
           "base": claim.base}  # fmt: skip
  blocks = [
    f"<h1>{html.escape(claim.title)}</h1>",
    _table(("", ""), [(k, f"<code>{html.escape(v)}</code>") for k, v in facts.items()]),
    "<h2>Verdict</h2>", _differences(claim, results),
    "<p>Differences are paired by seed; intervals are 95%, by Student's t.</p>",
    "<h2>Numbers</h2>", _numbers(claim, results),
    "<h2>Learning</h2>",
    "<p>Thin lines are seeds, strong ones their mean.</p>",
    *(draw_curves(groups, title) for title, groups in curves.items()),
    "<h2>Arms</h2>", _arms(claim),
  ]  # fmt: skip
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f"<title>{html.escape(claim.title)}</title><style>{STYLE}</style></head>\n"
    "<body>\n" + "\n".join(blocks) + "\n</body></html>\n"
  )


def read_curves(
  claim: Claim, workdir: str | Path, seeds: int | None = None
) -> dict[str, dict[str, list[Curve]]]:
  """What the runs logged: by number, by arm, a curve for each seed.

  The losses come first, of stages by themselves; a number that no run logged more than
  once has no curves.
  """
  found: dict[str, dict[str, list[Curve]]] = {}
  wanted = [
    ("loss", "loss", list(claim.arms)),
    ("loss of what is trained before", "loss", list(claim.stages)),
    *((number, number, list(claim.arms)) for number in claim.report),
  ]
  rows = {
    name: [
      read_rows(folder_of(workdir, name, seed) / FILE)
      for seed in range(claim.first_seed, claim.first_seed + (seeds or claim.seeds))
    ]
    for name in (*claim.stages, *claim.arms)
  }
  for title, number, names in wanted:
    groups = {
      name: [curve for run in rows[name] if (curve := _curve(run, number))]
      for name in names
    }
    groups = {name: curves for name, curves in groups.items() if curves}
    if any(len(curve) > 1 for curves in groups.values() for curve in curves):
      found[title] = groups
  return found


def _curve(rows: Sequence[Mapping[str, Any]], number: str) -> Curve:
  """Steps and finite values of a number."""
  return [
    (row["step"], float(row[number]))
    for row in rows
    if number in row and math.isfinite(row[number])
  ]


def _differences(claim: Claim, results: Mapping[str, Sequence[Numbers]]) -> str:
  """By how much one arm exceeds another, with intervals and verdicts."""
  rows = []
  for first, second, number, *other in claim.compare:
    against = other[0] if other else number
    gap = compare(
      [run[number] for run in results[first]], [run[against] for run in results[second]]
    )
    verdict = gap.verdict()
    rows.append((
      html.escape(f"{first} - {second}"),
      html.escape(f"{number} - {against}" if other else number),
      _Number(f"{gap.mean:+.4f}"),
      _Number(f"[{gap.low:+.4f}, {gap.high:+.4f}]"),
      draw_interval(gap.low, gap.mean, gap.high),
      f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>',
    ))  # fmt: skip
  heads = ("difference", "number", "mean", "95% interval", "", "verdict")
  return _table(heads, rows)


def _numbers(claim: Claim, results: Mapping[str, Sequence[Numbers]]) -> str:
  """Every number of every arm: each seed's, mean and standard deviation."""
  count = max(len(runs) for runs in results.values())
  rows = []
  for number in claim.report:
    for arm, runs in results.items():
      values = [run.get(number) for run in runs]
      known = [value for value in values if value is not None]
      if not known:
        continue
      cells = ["-" if v is None else f"{v:.4f}" for v in values]
      spread = f"{np.std(known, ddof=1):.4f}" if len(known) > 1 else "-"
      cells += ["-"] * (count - len(cells)) + [f"{np.mean(known):.4f}", spread]
      rows.append((html.escape(number), html.escape(arm), *map(_Number, cells)))
  seeds = [f"seed {claim.first_seed + k}" for k in range(count)]
  return _table(("number", "arm", *seeds, "mean", "deviation"), rows)


def _arms(claim: Claim) -> str:
  """The config and the overrides of every stage and arm."""
  rows = []
  for name in (*claim.stages, *claim.arms):
    base, settings = claim.run(name)
    text = "<br>".join(html.escape(setting) for setting in settings)
    kind = "before the arms" if name in claim.stages else "arm"
    rows.append((html.escape(name), kind, f"<code>{html.escape(base)}</code>",
                 f"<code>{text}</code>"))  # fmt: skip
  return _table(("name", "", "config", "settings"), rows)


class _Number(str):
  """A cell that stands to the right."""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A table of cells that are HTML already; no line of heads where all are empty."""
  top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
  lines = [f"<tr>{top}</tr>"] if any(heads) else []
  for row in rows:
    cells = (
      f'<td class="number">{cell}</td>'
      if isinstance(cell, _Number)
      else f"<td>{cell}</td>"
      for cell in row
    )
    lines.append(f"<tr>{''.join(cells)}</tr>")
  return "<table>" + "\n".join(lines) + "</table>"
