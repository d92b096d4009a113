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
from jaxtyping import Array, Float

from mdm.evaluation.attention_floor import Case
from mdm.kernels.dispatch import choose_backend, choose_chunk
from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import attend_tiles, interval_attention
from mdm.kernels.intervals import Intervals
from mdm.kernels.layout import chunk_tiles
from mdm.masks.choices import check_choice

PATTERNS = ("iid", "clustered", "recency")
DTYPES = ("float32", "bfloat16", "float16")
CLUSTER = 64  # neighbours that share a score
MOST_POSITIONS = 2**31 - 2**16
LEAST_S, MOST_REPEATS = 0.02, 50  # a measurement calls until the clock can tell
MEMORY_SHARE = 0.7  # of what is free; the rest is left to other programs

Attend = Callable[..., Any]


class Problem(NamedTuple):
  """What every entrant of a case gets."""

  query: Float[Array, "b n h d"]
  key: Float[Array, "b n g d"]
  value: Float[Array, "b n g d"]
  score: Float[Array, "b g n"]
  d_out: Float[Array, "b n h d"]


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


def parse_case(text: str, pattern: str = "iid") -> Case:
  """A case from "B,H,K,N,D,W": batch, heads, key heads, length, head width, kept keys.

  Raises:
    ValueError: not six positive numbers, heads that do not divide, N beyond int32.
  """
  check_choice("pattern", pattern, PATTERNS)
  parts = text.split(",")
  if len(parts) != 6 or not all(part.strip().isdecimal() for part in parts):
    raise ValueError(
      f"shape {text!r} must be six numbers B,H,K,N,D,W (batch, heads, key heads, "
      "length, head width, kept keys), as in 1,2,1,8192,64,256."
    )
  b, h, g, n, d, w = (int(part) for part in parts)
  case = Case(b, h, g, n, d, w, pattern)
  for name, size in zip("BHKNDW", (b, h, g, n, d, w), strict=True):
    if size < 1:
      raise ValueError(f"{name} = 0 in shape {text!r} must be 1 or more.")
  if case.heads % case.kv_heads:
    raise ValueError(
      f"{case.kv_heads} key heads do not divide {case.heads} heads in shape {text!r}; "
      "give a divisor."
    )
  if case.length > MOST_POSITIONS:
    raise ValueError(
      f"N = {case.length} in shape {text!r} does not fit int32; give at most "
      f"{MOST_POSITIONS}."
    )
  return case


def draw_problem(case: Case, dtype: str) -> Problem:
  """Normal arrays, and positive scores by the case's pattern, float32."""
  b, h, g, n, d = case[:5]
  keys = jax.random.split(jax.random.key(0), 5)
  shapes = ((b, n, h, d), (b, n, g, d), (b, n, g, d), (b, n, h, d))
  query, key, value, d_out = (
    jax.random.normal(k, shape, dtype) for k, shape in zip(keys, shapes, strict=False)
  )
  if case.pattern == "recency":
    score = jnp.broadcast_to(jnp.linspace(0.0, 2.0, n), (b, g, n))
  elif case.pattern == "clustered":
    each = jax.random.uniform(keys[4], (b, g, -(-n // CLUSTER)), maxval=2.0)
    score = jnp.repeat(each, CLUSTER, axis=-1)[..., :n]
  else:
    score = jax.random.uniform(keys[4], (b, g, n), maxval=2.0)
  return Problem(query, key, value, jax.block_until_ready(score), d_out)


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
  needed = max(program["memory_mib"] for program in programs.values())
  if needed > MEMORY_SHARE * free_mib():
    raise MemoryError(f"needs {needed:,.0f} MiB of {free_mib():,.0f} that are free")
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
  sizes = [
    getattr(memory, f"{part}_size_in_bytes", 0)
    for part in ("temp", "output", "argument")
  ]
  return {
    "compiled_flops": float(cost.get("flops", 0.0)),
    "compiled_bytes": float(cost.get("bytes accessed", 0.0)),
    "temp_mib": sizes[0] / 2**20,
    "memory_mib": sum(sizes) / 2**20,
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


def _compile(function: Callable[..., Any], *args: Any) -> Any:
  return jax.jit(function).lower(*args).compile()
