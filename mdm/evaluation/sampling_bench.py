"""How fast a compiled sampler is, beside as many bare network passes as it makes.

Rounds alternate: the sampler once, then its number of passes of the compiled network
one after the other, each on a canvas that is all hidden. The ratio of the two times is
what drawing, choosing and looping cost; medians over rounds are reported, of ratios
within a round, so that a machine whose speed drifts slows both.

A bare pass of a method with a cache (text from left to right, blocks) is one call of
its `extend`, which writes on the cache that it is given, as the sampler's does.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.decoding.settings import SamplerSettings
from mdm.evaluation.base import Variables
from mdm.evaluation.samples import make_sampler
from mdm.masks.keys import example_keys
from mdm.methods.base import Method

Passes = Callable[[int], Any]


def bench_samplers(
  method: Method,
  variables: Variables,
  samplers: Mapping[str, SamplerSettings],
  *,
  length: int,
  batch: int,
  rounds: int,
) -> list[dict[str, Any]]:
  """One row for each sampler: passes, time, tokens per second, ratio to bare passes.

  Args:
    method: with the verb `sample`.
    variables: of the method.
    samplers: settings by label "NAME" or "NAME anything".
    length: tokens of a canvas, all of them hidden.
    batch: canvases filled at once.
    rounds: of timing, after one to warm up.
  """
  run_passes = make_passes(method, variables, length=length, batch=batch)
  canvas = jnp.full((batch, length), getattr(method, "mask_id"))  # noqa: B009
  keys = example_keys(jax.random.key(0), jnp.arange(batch))
  rows = []
  for label, settings in samplers.items():
    name = label.split()[0]
    draw = make_sampler(method, name, settings)
    calls = int(draw(variables, keys, canvas).calls)
    run_passes(1)
    times = [
      (_seconds(draw, variables, keys, canvas), _seconds(run_passes, calls))
      for _ in range(rounds)
    ]
    sampler_s, bare_s = (statistics.median(x) for x in zip(*times, strict=True))
    rows.append(
      {
        "sampler": name,
        "num_steps": settings.num_steps,
        "calls": calls,
        "tokens_per_s": batch * length / sampler_s,
        "sampler_s": sampler_s,
        "bare_s": bare_s,
        "ratio": statistics.median(whole / bare for whole, bare in times),
      }
    )
  return rows


def make_passes(
  method: Method, variables: Variables, *, length: int, batch: int
) -> Passes:
  """A function that makes so many bare passes, one after the other."""
  if callable(getattr(type(method), "extend", None)):
    return _cached_passes(method, variables, length=length, batch=batch)
  tokens = jnp.full((batch, length), getattr(method, "mask_id"))  # noqa: B009
  t = jnp.ones(batch)

  @jax.jit
  def run_pass(
    variables: Variables, tokens: Int[Array, "b n"], t: Float[Array, "b"]
  ) -> Any:
    """Logits of the whole canvas."""
    return method.apply(variables, tokens, t, method="logits")

  def run(count: int) -> Any:
    """So many passes; the last one's logits."""
    return [run_pass(variables, tokens, t) for _ in range(count)][-1]

  return run


def _cached_passes(
  method: Method, variables: Variables, *, length: int, batch: int
) -> Passes:
  """Bare passes over one block, or one token, after the other."""
  width = getattr(method, "block_length", 1)
  tokens = jnp.full((batch, width), getattr(method, "mask_id"))  # noqa: B009

  def extend(
    variables: Variables, tokens: Int[Array, "b m"], cache: Any, start: Int[Array, ""]
  ) -> Any:
    """Logits of what stands at `start`, and the cache."""
    return method.apply(variables, tokens, cache, start, method="extend")

  run_pass = jax.jit(extend, donate_argnums=2)
  empty = jax.jit(lambda: _empty_cache(method, batch, length))

  def run(count: int) -> Any:
    """So many passes; the last one's logits and cache."""
    cache, logits = empty(), None
    for number in range(count):
      start = jnp.asarray(number * width % length)
      logits, cache = run_pass(variables, tokens, cache, start)
    return logits, cache

  return run


def _empty_cache(method: Any, batch: int, length: int) -> Any:
  return method.network.init_cache(batch, length)


def _seconds(function: Callable[..., Any], *args: Any) -> float:
  began = time.perf_counter()
  jax.block_until_ready(function(*args))
  return time.perf_counter() - began


def name_samplers(
  names: Sequence[str], steps: Sequence[int], *, top_p: float = 1.0
) -> dict[str, SamplerSettings]:
  """Settings of each sampler with each number of passes, by a label."""
  return {
    f"{name} {count}": SamplerSettings(num_steps=count, top_p=top_p)
    for name in names
    for count in (steps if name != "first_hitting" else steps[:1])
  }
