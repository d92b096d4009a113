"""`mdm bench attention`: ours beside other attention, on this machine, in one run."""

import contextlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from mdm.api.model import load
from mdm.evaluation.attention import aot as attention_aot
from mdm.evaluation.attention import bench as attention_bench
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.learned import learned_scores
from mdm.evaluation.attention.peers import PEERS, TORCH_PEERS, check_peers
from mdm.evaluation.attention.problems import DTYPES, parse_case
from mdm.evaluation.line_plots import draw_lines, find_crossover, save_plot
from mdm.evaluation.rates import open_gauge
from mdm.evaluation.torch_process import TorchProcess, torch_python
from mdm.kernels.dispatch import choose_backend
from mdm.masks.choices import check_choice
from mdm.training.hardware import describe_hardware

SHAPES = {
  "cpu": ("1,2,1,8192,64,256",),
  "gpu": (
    *(f"1,2,1,{n},64,1024" for n in (4_096, 8_192, 16_384, 32_768)),
    *(f"1,16,8,{n},128,1024" for n in (4_096, 8_192, 32_768)),
    "1,16,8,131072,128,2048",
    "8,16,8,4096,64,512",
  ),
}
STEPS = {
  "cpu": (
    *(f"{b},2,1,{n},64,256" for n in (8_192, 65_536) for b in (1, 32)),
    "1,2,1,524288,64,256",
  ),
  "gpu": (
    *(f"{b},16,8,{n},128,1024" for n in (8_192, 65_536) for b in (1, 32)),
    "1,16,8,524288,128,1024",
  ),
}
COMPILED = ("1,2,1,8192,64,256", "1,16,8,8192,128,1024")
PLOTTED = {
  "cpu": tuple(f"1,2,1,{2**k},64,256" for k in range(9, 14)),
  "gpu": tuple(f"1,16,8,{2**k},128,1024" for k in range(10, 17)),
}
COMPILERS = ("libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin")
KINDS = {"forward": "forward", "both": "forward and backward"}
TO_BEAT = "xla"


def bench_attention(
  shapes: Sequence[str] = (),
  *,
  backends: Sequence[str] = ("auto",),
  peers: Sequence[str] = PEERS,
  patterns: Sequence[str] = ("iid",),
  run: str | Path | None = None,
  decode: bool = False,
  dtype: str | None = None,
  rounds: int = 7,
  torch: str | None = None,
  plot: str | Path | None = None,
  say: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Times, work, memory and shares of the floor of dynamic mask attention and others.

  Args:
    shapes: "B,H,K,N,D,W" each; none for those of this kind of device.
    backends: of `interval_attention`; the first is what others are compared with.
    peers: of `evaluation.attention.peers.PEERS`; one that is missing is noted.
    patterns: how scores are drawn: "iid", "clustered" (neighbours share one), "recency"
      (the latest are best) or "learned".
    run: whose scores the pattern "learned" has: a run or exported weights with dynamic
      mask attention.
    decode: steps of decoding instead, one new token before N - 1 that are cached.
    dtype: of queries, keys and values; None for float32 on a CPU, else bfloat16.
    rounds: of timing, after one to warm up.
    torch: an interpreter that has PyTorch; None for this one, if it has.
    plot: file for a picture of time against length.
    say: told the table of each case when it is done.

  Returns:
    Plain types: rows, rates of the device, hardware, versions, notes, and with a plot
    the length from which on ours is faster than dense.

  Raises:
    ValueError: a shape, backend, peer, pattern, run or interpreter that makes no sense
      here.
  """
  kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
  usual = (STEPS if decode else PLOTTED if plot else SHAPES)[kind]
  cases = [
    parse_case(shape, pattern, is_step=decode)
    for pattern in patterns
    for shape in shapes or usual
  ]
  dtype = dtype or ("float32" if kind == "cpu" else "bfloat16")
  _check(backends, peers, dtype, rounds)
  if plot:
    _check_plot(cases, decode)
  learned = _learned(run, patterns)
  python = torch_python(torch) if set(peers) & set(TORCH_PEERS) else None
  rows, notes = [], []
  if python is None and set(peers) & set(TORCH_PEERS):
    notes.append("PyTorch is not installed here; --torch PYTHON names one that has it")
  busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
  with contextlib.ExitStack() as stack:
    process = stack.enter_context(TorchProcess(python)) if python else None
    gauge = open_gauge(dtype, [lambda: process.rates(dtype)] if process else [])
    settings: dict[str, Any] = {
      **{"dtype": dtype, "backends": backends, "peers": peers, "rounds": rounds},
      **{"torch": process, "learned": learned},
    }
    for case in cases:
      found, more = attention_bench.bench_case(case, gauge=gauge, **settings)
      rows += found
      notes += [note for note in more if note not in notes]
      say(attention_bench.format_case(case, dtype, found))
  crossover = _plot(rows, plot, dtype) if plot else None
  return {
    "rows": rows,
    "rates": gauge.rates._asdict(),
    "dtype": dtype,
    "rounds": rounds,
    "hardware": describe_hardware(),
    "load_before": busy,
    "versions": _versions("jax", "jaxlib"),
    "notes": notes,
    "crossover": crossover,
  }


def compile_attention(
  chip: str, shapes: Sequence[str] = (), *, dtype: str | None = None
) -> dict[str, Any]:
  """What the compiler says of ours and of dense attention on a chip; nothing is run.

  Args:
    chip: "v5e", "v5p", "v6e" or "h200".
    shapes: "B,H,K,N,D,W" each; none for a few.
    dtype: of queries, keys and values; None for bfloat16.

  Raises:
    ValueError: an unknown chip, shape or dtype, or its compiler is not installed.
  """
  check_choice("--aot", chip, attention_aot.CHIPS)
  dtype = dtype or "bfloat16"
  check_choice("dtype", dtype, DTYPES)
  cases = [parse_case(shape) for shape in shapes or COMPILED]
  device = attention_aot.describe_chip(chip)
  rows = [
    row for case in cases for row in attention_aot.compile_case(case, device, dtype)
  ]
  return {
    "rows": rows,
    "chip": chip,
    "device": device.device_kind,
    "dtype": dtype,
    "is_measured": False,
    "versions": _versions("jax", "jaxlib", *COMPILERS),
  }


def _versions(*names: str) -> dict[str, str]:
  """Of those packages that are installed."""
  found = {}
  for name in names:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  return found


def _check(
  backends: Sequence[str], peers: Sequence[str], dtype: str, rounds: int
) -> None:
  """Raises ValueError for what cannot be measured here."""
  check_choice("dtype", dtype, DTYPES)
  check_peers(peers)
  if rounds < 1:
    raise ValueError(f"rounds = {rounds} must be 1 or more.")
  if not backends:
    raise ValueError("no backend is named; give --backends auto.")
  for backend in backends:
    choose_backend(backend)


def _check_plot(cases: Sequence[Case], decode: bool) -> None:
  """Raises ValueError for what makes no picture of time against length."""
  if decode:
    raise ValueError("--plot draws passes over whole sequences; leave out --decode.")
  if len({case.length for case in cases}) < 2:
    raise ValueError("--plot needs shapes of two lengths N or more.")


def _learned(run: str | Path | None, patterns: Sequence[str]) -> np.ndarray | None:
  """Scores of a run's heads, where a pattern needs them; ValueError without a run."""
  if "learned" not in patterns:
    return None
  if run is None:
    raise ValueError("the pattern 'learned' takes a run's scores; give --run FOLDER.")
  model = load(run)
  return learned_scores(model.method, model.variables, model.cfg.data.to_dict())


def _plot(
  rows: Sequence[dict[str, Any]], path: str | Path, dtype: str
) -> dict[str, float | None]:
  """Draws a panel for each kind; the lengths from which on ours beats dense XLA."""
  panels, crossover = [], {}
  first = rows[0]
  for kind, title in KINDS.items():
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
      if f"{kind}_s" in row and row["pattern"] == first["pattern"]:
        name = row["entrant"] + ("" if row["is_same"] else " (dense)")
        lines.setdefault(name, {})[float(row["length"])] = 1e3 * row[f"{kind}_s"]
    points = {name: sorted(line.items()) for name, line in lines.items()}
    dense = points.get(f"{TO_BEAT} (dense)", [])
    n = crossover[kind] = find_crossover(points[first["entrant"]], dense)
    heads = f"{first['heads']}/{first['kv_heads']} heads of {first['head_width']}"
    panels.append(
      draw_lines(
        points,
        title=f"{title}, w = {first['width']}, {heads}, {dtype}",
        across="tokens",
        up="ms",
        mark=None if n is None else (n, f"below dense from {n:,.0f} on"),
      )
    )
  sheet = Image.new("RGB", (sum(p.width for p in panels), panels[0].height))
  for number, panel in enumerate(panels):
    sheet.paste(panel, (number * panel.width, 0))
  save_plot(sheet, path)
  return crossover
