"""Dynamic mask attention beside other attention, in one run on one machine.

Rounds go through all entrants in turn, so that a machine whose speed drifts slows all;
medians over rounds are reported, of ratios within a round. `backward` is what gradients
add to a forward pass. A dense entrant computes another function, shown as the time to
beat; `is_same` marks those that compute ours, and `difference` how far they are off.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mdm.evaluation.attention.decoding import STEP_PEERS, open_steps
from mdm.evaluation.attention.entrants import (
  MEMORY_SHARE,
  Entrant,
  free_mib,
  our_entrant,
)
from mdm.evaluation.attention.floor import (
  Case,
  both_work,
  count_pairs,
  floor_s,
  forward_work,
)
from mdm.evaluation.attention.peers import open_jax_peers
from mdm.evaluation.attention.problems import Problem, draw_problem
from mdm.evaluation.rates import Gauge, Rates
from mdm.evaluation.torch_process import TorchProcess

PARTS = ("selection", "gather", "attention")


def bench_case(
  case: Case,
  *,
  dtype: str,
  backends: Sequence[str],
  peers: Sequence[str],
  torch: TorchProcess | None,
  rounds: int,
  gauge: Gauge,
  learned: Float[np.ndarray, "g m"] | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
  """A row for each entrant that runs, ours first, and notes on those that do not.

  The device's rates are taken anew in every round.

  Raises:
    ValueError: a backend that is unknown or not on this machine.
  """
  itemsize = jnp.dtype(dtype).itemsize
  values = 2 * case.batch * case.kv_heads * case.length * case.head_width
  arrays_mib = itemsize * values / 2**20
  if arrays_mib > MEMORY_SHARE * free_mib():
    return [], [f"N = {case.length}: keys and values do not fit: not measured"]
  problem = draw_problem(case, dtype, learned)
  if case.is_step:
    entrants, notes = open_steps(peers, case, problem)
    peers = [name for name in peers if name in STEP_PEERS]
  else:
    entrants, notes = _open_passes(case, problem, backends, peers)
  if not entrants or not entrants[0].name.startswith("mdm"):
    return [], notes
  if torch is not None:
    others, more = torch.open(peers, case, problem, dtype)
    entrants, notes = entrants + others, notes + more
  times = time_entrants(entrants, rounds, gauge.measure)
  return make_rows(entrants, case, times, gauge.rates, itemsize), notes


def _open_passes(
  case: Case, problem: Problem, backends: Sequence[str], peers: Sequence[str]
) -> tuple[list[Entrant], list[str]]:
  """Passes over whole sequences: ours by each backend, then the peers in JAX."""
  entrants, notes = [], []
  for backend in backends:
    try:
      entrants.append(our_entrant(backend, case, problem))
    except MemoryError as error:
      notes.append(f"mdm {backend} at N = {case.length}: {error}: not measured")
  if not entrants:
    return [], notes
  others, more = open_jax_peers(peers, case, problem)
  return entrants + others, notes + more


def time_entrants(
  entrants: Sequence[Entrant],
  rounds: int,
  between: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, list[float]]]:
  """Seconds of every entrant and kind in every round, after one that warms up.

  Args:
    between: called at the end of each round.
  """
  times: dict[str, dict[str, list[float]]] = {
    entrant.name: {kind: [] for kind in entrant.seconds} for entrant in entrants
  }
  for number in range(rounds + 1):
    for entrant in entrants:
      for kind, measure in entrant.seconds.items():
        spent = measure()
        if number > 0:
          times[entrant.name][kind].append(spent)
    between()
  return times


def make_rows(
  entrants: Sequence[Entrant],
  case: Case,
  times: Mapping[str, Mapping[str, Sequence[float]]],
  rates: Rates,
  itemsize: int,
) -> list[dict[str, Any]]:
  """A row of numbers for each entrant; ratios and differences are to the first."""
  first = entrants[0]
  truth = first.result()
  rows = []
  for entrant in entrants:
    found = times[entrant.name]
    row: dict[str, Any] = {
      "entrant": entrant.name,
      "is_same": entrant.function != "dense",
      **case._asdict(),
      "chunk": entrant.chunk,
      "keys_visible": count_pairs(
        case, "dense" if entrant.function == "dense" else "ideal"
      )
      / (1 if case.is_step else case.length),
      "keys_read": entrant.keys_read,
    }
    row |= {f"{kind}_s": statistics.median(spent) for kind, spent in found.items()}
    if {"forward", "both"} <= found.keys():
      pairs = zip(found["both"], found["forward"], strict=True)
      row["backward_s"] = statistics.median(a - b for a, b in pairs)
    for kind in ("forward", "both"):
      if kind in found:
        pairs = zip(found[kind], times[first.name][kind], strict=True)
        row[f"{kind}_ratio"] = statistics.median(a / b for a, b in pairs)
        row |= _floors(entrant, case, kind, row[f"{kind}_s"], rates, itemsize)
    for kind, program in entrant.programs.items():
      row |= {f"{kind}_{name}": value for name, value in program.items()}
    if row["is_same"]:
      row["difference"] = float(np.abs(entrant.result() - truth).max())
    rows.append(row)
  return rows


def format_case(case: Case, dtype: str, rows: Sequence[Mapping[str, Any]]) -> str:
  """A headline and the table of one case."""
  shape = ",".join(str(size) for size in case[:6])
  what = " a step of decoding" if case.is_step else ""
  return f"{shape} {case.pattern} {dtype}{what}\n{format_rows(rows)}"


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows of one case as a table of text, and where our time goes."""
  lines = [
    f"{'':16} {'function':9} {'keys read':>9} {'forward ms':>10} {'both ms':>9} "
    f"{'x ours':>12} {'% of floor':>11} {'MiB':>7} {'off by':>8}"
  ]
  for row in rows:
    shown = [_number(row, kind, "_s", 1e3, "{:.3f}") for kind in ("forward", "both")]
    ratio, share = (
      " ".join(f"{_number(row, k, what, by, '{:.1f}'):>5}" for k in ("forward", "both"))
      for what, by in (("_ratio", 1.0), ("_floor_share", 100.0))
    )
    lines.append(
      f"{row['entrant']:16} {'same' if row['is_same'] else 'dense':9} "
      f"{row['keys_read']:9,.0f} {shown[0]:>10} {shown[1]:>9} {ratio:>12} {share:>11} "
      f"{_number(row, _last(row), '_memory_mib', 1.0, '{:,.0f}'):>7} "
      f"{_number(row, 'difference', '', 1.0, '{:.0e}'):>8}"
    )
  lines += [_describe_parts(row) for row in rows if "selection_s" in row]
  return "\n".join(lines)


def _last(row: Mapping[str, Any]) -> str:
  """What takes the most memory: both passes, of a step the only one."""
  return "forward" if row["is_step"] else "both"


def _describe_parts(row: Mapping[str, Any]) -> str:
  """Times of what a forward pass is made of, each compiled alone."""
  parts = [f"{p} {1e3 * row[f'{p}_s']:.3f} ms" for p in PARTS if f"{p}_s" in row]
  how = f"chunks of {row['chunk']}" if row["chunk"] else "dense under the same mask"
  return f"{row['entrant']}: {how}; alone: {', '.join(parts)}"


def _number(
  row: Mapping[str, Any], kind: str, name: str, factor: float, form: str
) -> str:
  """One number of a row, or a dash."""
  value = row.get(kind + name)
  return "-" if value is None else form.format(factor * value)


def _floors(
  entrant: Entrant, case: Case, kind: str, spent: float, rates: Rates, itemsize: int
) -> dict[str, float]:
  """Work by formula, and the shares of the floors that `spent` seconds reach."""
  work = forward_work(case, entrant.function, itemsize, entrant.chunk)
  ideal = forward_work(
    case, "dense" if entrant.function == "dense" else "ideal", itemsize
  )
  if kind == "both":
    work, ideal = both_work(work), both_work(ideal)
  return {
    f"{kind}_flops": work.flops,
    f"{kind}_bytes": work.bytes,
    f"{kind}_floor_s": floor_s(work, rates),
    f"{kind}_floor_share": floor_s(work, rates) / spent,
    f"{kind}_ideal_share": floor_s(ideal, rates) / spent,
  }
