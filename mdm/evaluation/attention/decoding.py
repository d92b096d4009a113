"""A step of decoding: one new token before a cache, constant-size or of everything.

The cache holds all tokens but the last, which each step writes into it and attends
with; it is handed on in place from call to call. Ours keeps the w best tokens of each
head. `xla` reads all of a full cache, another function; `xla_mask` computes ours from a
full cache as the authors' model does, choosing anew among all scores.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdm.evaluation.attention.entrants import (
  LEAST_S,
  MOST_REPEATS,
  Entrant,
  check_memory,
  describe_program,
)
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.problems import Problem
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals
from mdm.nn.mixers import kept as slots
from mdm.nn.mixers.base import NEVER, Place
from mdm.nn.mixers.kept import Kept

STEP_PEERS = ("xla", "xla_mask", "torch", "torch_mask")  # what also decodes

Step = Callable[..., tuple[Any, Float[Array, "b 1 h d"]]]


class Token(NamedTuple):
  """The new token, last of the sequence."""

  query: Float[Array, "b 1 h d"]
  key: Float[Array, "b 1 g d"]
  value: Float[Array, "b 1 g d"]
  score: Float[Array, "b g 1"]


class Everything(NamedTuple):
  """A cache of all tokens; the last place waits for the new one."""

  key: Float[Array, "b n g d"]
  value: Float[Array, "b n g d"]
  score: Float[Array, "b g n"]


def open_steps(
  names: Sequence[str], case: Case, problem: Problem
) -> tuple[list[Entrant], list[str]]:
  """Ours, then the peers in JAX; notes on those that do not run.

  Args:
    names: of peers; those that do not decode, or are not of JAX, are passed over.
  """
  last = case.length - 1
  token = Token(
    problem.query,
    problem.key[:, last:],
    problem.value[:, last:],
    problem.score[..., last:],
  )
  width, n = min(case.width, case.length), case.length
  ways: list[tuple[str, Step, Callable[[], Any], str, int]] = [
    ("mdm topw", kept_step(last), lambda: _keep(case, problem), "ideal", width)
  ]
  if "xla" in names:
    ways.append(("xla", full_step, lambda: _everything(problem), "dense", n))
  if "xla_mask" in names:
    chosen = masked_step(width)
    ways.append(("xla_mask", chosen, lambda: _everything(problem), "ideal", n))
  entrants, notes = [], []
  for name, step, make, function, keys_read in ways:
    try:
      entrants.append(
        step_entrant(name, step, make, token)._replace(
          function=function, keys_read=float(keys_read)
        )
      )
    except MemoryError as error:
      notes.append(f"{name} at {n} tokens: {error}: not measured")
  return entrants, notes


def kept_step(last: int) -> Step:
  """Of the constant-size cache: the newcomer takes the lowest place, or none."""

  def step(cache: Kept, token: Token) -> tuple[Kept, Float[Array, "b 1 h d"]]:
    """Sees what is kept after it has come in."""
    place = Place(jnp.int32(last), jnp.zeros((1, 1), jnp.int32), None, None)
    key, value = (x.swapaxes(1, 2) for x in (token.key, token.value))
    pushed = slots.push_scores(cache.rank, token.score, place)
    after = slots.push_tokens(cache, pushed, key, value)
    end = jnp.where(after.rank.position < 0, 0, NEVER)
    found = interval_attention(
      token.query,
      after.key.swapaxes(1, 2),
      after.value.swapaxes(1, 2),
      Intervals(after.rank.position, end),
      bias=jnp.where(end > 0, after.rank.score, 0.0),
      positions=place.rows,
    )
    return after, found.out

  return step


def full_step(
  cache: Everything, token: Token
) -> tuple[Everything, Float[Array, "b 1 h d"]]:
  """Dense attention to everything, no bias."""
  cache = _append(cache, token)
  return cache, jax.nn.dot_product_attention(token.query, cache.key, cache.value)


def masked_step(width: int) -> Step:
  """Of a cache of everything, from which each step chooses the best tokens."""

  def step(
    cache: Everything, token: Token
  ) -> tuple[Everything, Float[Array, "b 1 h d"]]:
    """Dense attention under the dynamic mask of the last row."""
    cache = _append(cache, token)
    b, g, n = cache.score.shape
    group = token.query.shape[2] // g
    best = slots.best_before(cache.score, jnp.ones((b, n), bool), width)
    put = jax.vmap(jax.vmap(lambda row, i: row.at[i].set(True)))
    visible = put(jnp.zeros((b, g, n), bool), best.position)  # b g n
    bias, visible = (
      jnp.repeat(x, group, axis=1)[:, :, None]  # b h 1 n
      for x in (cache.score.astype(token.query.dtype), visible)
    )
    return cache, jax.nn.dot_product_attention(
      token.query, cache.key, cache.value, bias, visible
    )

  return step


def step_entrant(
  name: str, step: Step, make: Callable[[], Any], token: Token
) -> Entrant:
  """A step compiled on its cache, which every call takes from the one before.

  Raises:
    MemoryError: cache and program need more memory than is free.
  """
  shapes = jax.eval_shape(make)
  run = jax.jit(step, donate_argnums=0).lower(shapes, token).compile()
  program = describe_program(run)
  check_memory(program["memory_mib"])
  state, first = run(make(), token)
  result = np.asarray(first, np.float32)

  def measure() -> float:
    """Seconds of one step, from as many as the clock needs."""
    nonlocal state
    spent, repeats = 0.0, 1
    for _ in range(2):  # the first says how many calls the second needs
      began = time.perf_counter()
      for _ in range(repeats):
        state, out = run(state, token)
      jax.block_until_ready((state, out))
      spent = (time.perf_counter() - began) / repeats
      repeats = min(int(LEAST_S / max(spent, 1e-9)), MOST_REPEATS)
      if repeats < 2:
        break
    return spent

  return Entrant(
    name, "", 0.0, {"forward": measure}, lambda: result, {"forward": program}
  )


def _keep(case: Case, problem: Problem) -> Kept:
  """The constant-size cache before the last token."""
  n = case.length
  before = jnp.broadcast_to(jnp.arange(n) < n - 1, (case.batch, n))
  rank = slots.best_before(problem.score, before, min(case.width, n))
  key, value = (slots.gather_tokens(x, rank.position) for x in problem[1:3])
  return Kept(rank, key, value)


def _everything(problem: Problem) -> Everything:
  """A full cache before the last token, whose place is empty."""
  last = problem.key.shape[1] - 1
  return Everything(
    problem.key.at[:, last:].set(0),
    problem.value.at[:, last:].set(0),
    problem.score.at[..., last:].set(0),
  )


def _append(cache: Everything, token: Token) -> Everything:
  """The new token in the last place."""
  last = cache.key.shape[1] - 1
  return Everything(
    cache.key.at[:, last:].set(token.key),
    cache.value.at[:, last:].set(token.value),
    cache.score.at[..., last:].set(token.score),
  )
