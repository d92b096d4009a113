"""Attention compiled for a device that is not there: work and memory, but no time.

Nothing here is measured. FLOPs, bytes and the time are the compiler's own estimates; it
cannot look into our kernels, which tell it their work themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mdm.evaluation.attention.entrants import Attend, describe_program, ours
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.peers import jax_peer
from mdm.training.topology import GPUS, describe_gpu, describe_tpus

DENSE = {"tpu": ("xla", "splash"), "gpu": ("xla",), "cpu": ("xla",)}
SILENT = ("splash",)  # whose kernels tell the compiler nothing of their work
TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
CHIPS = (*TOPOLOGIES, *GPUS)


def describe_chip(name: str) -> jax.Device:
  """One device of `CHIPS`.

  Raises:
    ValueError: its compiler is not installed.
  """
  return describe_gpu(name) if name in GPUS else describe_tpus(TOPOLOGIES[name])[0]


def compile_case(case: Case, device: jax.Device, dtype: str) -> list[dict[str, Any]]:
  """Ours and dense attention of all kinds: what the compiler says of both passes.

  A program that does not compile (dense attention beyond the chip's memory) has the
  reason as its row's `failed`.
  """
  mesh = jax.sharding.Mesh(np.array([device]), ("data",))
  attends = {f"mdm {device.platform}": ours("auto", case)}
  attends |= {name: jax_peer(name, case) for name in DENSE[device.platform]}
  rows = []
  for name, attend in attends.items():
    is_ours = name not in DENSE[device.platform]
    row: dict[str, Any] = {"entrant": name, "is_same": is_ours, **case._asdict()}
    for kind, (function, args) in _programs(attend, case, mesh, dtype).items():
      try:
        with jax.set_mesh(mesh):  # which tells backends what they are compiled for
          program = jax.jit(function).lower(*args).compile()
      except (jax.errors.JaxRuntimeError, NotImplementedError, ValueError) as error:
        row[f"{kind}_failed"] = str(error).splitlines()[0]
        continue
      told = describe_program(program)
      cost = program.cost_analysis() or {}
      told["estimate_s"] = float(cost.get("optimal_seconds", 0.0))
      row |= {
        f"{kind}_{what}": value
        for what, value in told.items()
        if name not in SILENT or what.endswith("_mib")
      }
    rows.append(row)
  return rows


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
  """The rows of one case as a table of text; a loop's work counts once."""
  shape = ",".join(str(rows[0][name]) for name in Case._fields[:6])
  lines = [
    shape,
    f"{'':10} {'pass':8} {'GFLOP':>10} {'GB':>8} {'temp MiB':>9} {'estimate ms':>12}",
  ]
  for row in rows:
    for kind in ("forward", "both"):
      name = f"{row['entrant']:10} {kind:8}"
      if f"{kind}_failed" in row:
        lines.append(f"{name} does not compile: {row[f'{kind}_failed']}")
        continue
      flops, moved, temp, spent = (
        f"{row[key] / unit:{form}}" if row.get(key, -1.0) >= least else "-"
        for key, unit, form, least in (
          (f"{kind}_compiled_flops", 1e9, ",.1f", 1.0),
          (f"{kind}_compiled_bytes", 1e9, ",.2f", 1.0),
          (f"{kind}_temp_mib", 1.0, ",.1f", 0.0),
          (f"{kind}_estimate_s", 1e-3, ".3f", 1e-9),
        )
      )
      lines.append(f"{name} {flops:>10} {moved:>8} {temp:>9} {spent:>12}")
  return "\n".join(lines)


def _programs(
  attend: Attend, case: Case, mesh: jax.sharding.Mesh, dtype: str
) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
  """Functions of both passes, and the shapes of their arguments on the device."""
  b, h, g, n, d = case[:5]
  place = jax.sharding.NamedSharding(mesh, jax.P())
  query, key, score = (
    jax.ShapeDtypeStruct(shape, kind, sharding=place)
    for shape, kind in (
      ((b, n, h, d), dtype),
      ((b, n, g, d), dtype),
      ((b, g, n), "float32"),
    )
  )
  arrays = (query, key, key, score)

  def both(arrays: Sequence[jax.Array], d_out: jax.Array) -> Any:
    """Results and the gradients of all arrays."""
    out, pull = jax.vjp(attend, *arrays)
    return out, pull(d_out)

  return {"forward": (attend, arrays), "both": (both, (arrays, query))}
