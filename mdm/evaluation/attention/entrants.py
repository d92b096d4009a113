"""Ways to attend, compiled and ready to be timed: this package's, and others in JAX.

Every one gets the same arrays. `forward` is one pass from queries, keys, values and
scores to results, selection and gathering included; `both` has the gradients of all
four too.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.problems import Problem
from mdm.kernels.dispatch import choose_backend, choose_chunk
from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import attend_tiles, interval_attention
from mdm.kernels.intervals import Intervals
from mdm.kernels.layout import chunk_tiles

LEAST_S, MOST_REPEATS = 0.02, 50  # a measurement calls until the clock can tell
MEMORY_SHARE = 0.7  # of what is free; the rest is left to other programs

Attend = Callable[..., Any]


class Entrant(NamedTuple):
  """One way to attend, ready to be timed.

  Attributes:
    name: what the table calls it.
    function: whose floor counts: "chunks", "ideal" (the same function) or "dense".
    keys_read: per query, by the way it is computed.
    seconds: time of one call of "forward", "both", or a part; one that is missing
      cannot be run.
    result: the results, for comparison.
    programs: what the compiler says of "forward" and "both", where it says anything.
    chunk: queries of a chunk, where there are chunks.
  """

  name: str
  function: str
  keys_read: float
  seconds: Mapping[str, Callable[[], float]]
  result: Callable[[], np.ndarray]
  programs: Mapping[str, dict[str, float]]
  chunk: int | None = None


def ours(backend: str, case: Case) -> Attend:
  """Selection, gathering and attention, of the first four arrays of a problem."""

  def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, score: jax.Array
  ) -> jax.Array:
    """The whole operation; the score is its own bias, as in the paper."""
    return interval_attention(
      *(query, key, value, _intervals(score, case.width)),
      bias=score,
      width=case.width,
      backend=backend,
    ).out

  return attend


def our_entrant(backend: str, case: Case, problem: Problem) -> Entrant:
  """Our attention with a backend, whole and in parts.

  Raises:
    ValueError: a backend that is unknown or not on this machine.
  """
  backend = choose_backend(backend)
  chunk = choose_chunk(case.length, case.width, backend)
  whole = jax_entrant(f"mdm {backend}", ours(backend, case), problem, "chunks")
  parts = {}
  intervals = _intervals(problem.score, case.width)
  select = _compile(lambda score: _intervals(score, case.width), problem.score)
  parts["selection"] = functools.partial(seconds, select, problem.score)
  if chunk is not None:
    arrays = (*problem[:4], intervals)
    lay = functools.partial(
      chunk_tiles,
      width=case.width,
      chunk=chunk,
      is_sorted=backend in ("tpu", "gpu"),
      is_deterministic=False,
    )
    gather = _compile(lay, *arrays)
    tiles = gather(*arrays)
    scale = case.head_width**-0.5
    attend = _compile(lambda tiles: attend_tiles(tiles, scale, backend), tiles)
    parts["gather"] = functools.partial(seconds, gather, *arrays)
    parts["attention"] = functools.partial(seconds, attend, tiles)
  return whole._replace(
    function="ideal" if chunk is None else "chunks",
    keys_read=case.length if chunk is None else case.width + chunk,
    seconds={**whole.seconds, **parts},
    chunk=chunk,
  )


def jax_entrant(
  name: str, attend: Attend, problem: Problem, function: str, keys_read: float = 0.0
) -> Entrant:
  """A function of query, key, value and score, compiled forward and with gradients.

  Raises:
    MemoryError: a program needs more memory than is free.
  """
  *arrays, d_out = problem

  def both(arrays: Sequence[jax.Array], d_out: jax.Array) -> Any:
    """Results and the gradients of all arrays."""
    out, pull = jax.vjp(attend, *arrays)
    return out, pull(d_out)

  compiled = {
    "forward": (_compile(attend, *arrays), arrays),
    "both": (_compile(both, arrays, d_out), (arrays, d_out)),
  }
  programs = {kind: describe_program(run) for kind, (run, _) in compiled.items()}
  check_memory(max(program["memory_mib"] for program in programs.values()))
  forward = compiled["forward"][0]
  return Entrant(
    name,
    function,
    keys_read,
    {k: functools.partial(seconds, run, *x) for k, (run, x) in compiled.items()},
    lambda: np.asarray(forward(*arrays), np.float32),
    programs,
  )


def describe_program(program: Any) -> dict[str, float]:
  """FLOPs and bytes by the compiler's count (a loop's body once), and memory."""
  cost = program.cost_analysis() or {}
  memory = program.memory_analysis()
  temp, out, given, shared = (
    getattr(memory, f"{part}_size_in_bytes", 0)
    for part in ("temp", "output", "argument", "alias")
  )
  return {
    "compiled_flops": float(cost.get("flops", 0.0)),
    "compiled_bytes": float(cost.get("bytes accessed", 0.0)),
    "temp_mib": temp / 2**20,
    "memory_mib": (temp + out + given - shared) / 2**20,
  }


def seconds(run: Callable[..., Any], *args: Any) -> float:
  """Time of one call, from as many as the clock needs."""
  began = time.perf_counter()
  jax.block_until_ready(run(*args))
  first = time.perf_counter() - began
  repeats = min(int(LEAST_S / max(first, 1e-9)), MOST_REPEATS)
  if repeats < 2:
    return first
  began = time.perf_counter()
  results = [run(*args) for _ in range(repeats)][-1]
  jax.block_until_ready(results)
  return (time.perf_counter() - began) / repeats


def free_mib() -> float:
  """Memory that is free on the first device, or on the machine if it is a CPU."""
  stats = jax.devices()[0].memory_stats()
  if stats and "bytes_limit" in stats:
    return (stats["bytes_limit"] - stats.get("bytes_in_use", 0)) / 2**20
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
  except OSError:
    return float("inf")
  found = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
  return int(found[0]) / 2**10 if found else float("inf")


def _intervals(score: jax.Array, width: int) -> Intervals:
  """Of the dynamic mask."""
  start = jnp.arange(score.shape[-1], dtype=jnp.int32)[None, None]
  return Intervals(start, eviction_times(score, width))


def check_memory(needed_mib: float) -> None:
  """Raises MemoryError where a program's memory is not free here."""
  if needed_mib > MEMORY_SHARE * free_mib():
    raise MemoryError(f"needs {needed_mib:,.0f} MiB of {free_mib():,.0f} that are free")


def _compile(function: Callable[..., Any], *args: Any) -> Any:
  return jax.jit(function).lower(*args).compile()
