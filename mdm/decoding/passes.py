"""The loop behind all samplers: read the canvas, let a rule write on it, read again.

A sampler is a rule from one pass's view and logits to the next canvas; whatever it must
remember besides goes through `memory`. Everything else is here, once: times, windows,
reuse of logits, stopping, the end of a row, and history. No row depends on another: its
draws come from its own key, folded by the pass.

When a rule leaves positions hidden after its last pass, as a schedule does that starts
below alpha = 1, one more pass takes their likeliest tokens.

Source: *Simple and Effective Masked Diffusion Language Models*, 2024, section 4.1
(reuse of logits); *Simplified and Generalized Masked Diffusion for Discrete Data*,
2024, sampling (likeliest tokens at the end).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.decoding.draw import exclude_classes, likeliest
from mdm.decoding.grids import grid_times
from mdm.decoding.pace import Pace, make_pace
from mdm.decoding.reader import Predict
from mdm.decoding.settings import SamplerSettings
from mdm.masks.keys import fold_keys
from mdm.masks.schedule import MaskSchedule


class Sampled(NamedTuple):
  """Sampled rows, and how they came to be.

  `calls` counts passes in which the predictor really ran. With history, `canvases[i]`
  stood after pass i and `times[i]` was each row's time in it; rows that were ready
  earlier repeat their last canvas. Without, both are empty.
  """

  tokens: Int[Array, "b n"]
  canvases: Int[Array, "s b n"]
  times: Float[Array, "s b"]
  calls: Int[Array, ""]


class Task(NamedTuple):
  """What is to be sampled: the predictor, a canvas, and the positions it may change."""

  predict: Predict
  canvas: Int[Array, "b n"]
  free: Bool[Array, "b n"]
  keys: Key[Array, "b"]
  mask_id: int
  schedule: MaskSchedule
  settings: SamplerSettings

  def is_hidden(self, tokens: Int[Array, "b n"]) -> Bool[Array, "b n"]:
    """Positions that are still to be revealed."""
    return self.free & (tokens == self.mask_id)

  def hidden_time(self, tokens: Int[Array, "b n"]) -> Float[Array, "b"]:
    """The time at which the expected share of hidden positions is the present one."""
    hidden = self.is_hidden(tokens).sum(axis=-1)
    return self.schedule.inverse(1.0 - hidden / jnp.maximum(self.free.sum(axis=-1), 1))


class Turn(NamedTuple):
  """What a rule sees of one pass.

  It is pass `place` of `places`, between the grid's times t > s; in blocks each block
  counts anew. `keys` are the rows' for this pass. The rule may write on `free`
  positions only; `hidden` are those of them that show MASK.
  """

  place: Int[Array, "b"]
  places: Int[Array, "b"]
  t: Float[Array, "b"]
  s: Float[Array, "b"]
  keys: Key[Array, "b"]
  tokens: Int[Array, "b n"]
  free: Bool[Array, "b n"]
  hidden: Bool[Array, "b n"]
  memory: Any


class Progress(NamedTuple):
  """The loop's state; `logits` is empty unless they are reused."""

  step: Int[Array, ""]
  tokens: Int[Array, "b n"]
  memory: Any
  logits: Any
  is_stale: Bool[Array, ""]
  calls: Int[Array, ""]
  canvases: Int[Array, "s b n"]
  times: Float[Array, "s b"]


Rule = Callable[[Turn, jax.Array], Turn]
Grid = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
Clock = Callable[[Turn], jax.Array]


def run_passes(
  task: Task,
  rule: Rule,
  *,
  num_steps: int | None,
  grid: Grid | None = None,
  time: Clock | None = None,
  memory: Any = (),
  is_final: bool = True,
) -> Sampled:
  """Samples a task by a rule.

  Args:
    task: what to sample.
    rule: from a pass's turn and logits to the turn with new `tokens` and `memory`.
    num_steps: passes; None for one to each hidden position.
    grid: from a pass's place and the number of places to the times t > s of each row;
      by default the one of the settings.
    time: the time of each row that the predictor is told. By default the grid's t; in
      blocks the one that fits the hidden share of the whole canvas.
    memory: what the rule remembers at the start.
    is_final: nothing revealed is hidden again, so that the loop may end with the last
      hidden position.
  """
  settings = task.settings
  limit = task.canvas.shape[1] if num_steps is None else num_steps
  pace = make_pace(task.free, num_steps, settings.block_length)
  if grid is None:
    grid = functools.partial(grid_times, grid=settings.grid)
  if time is None:
    whole = settings.block_length is None
    time = lambda turn: turn.t if whole else task.hidden_time(turn.tokens)  # noqa: E731

  def is_running(now: Progress) -> Bool[Array, ""]:
    """Whether passes are left, and something to do in them."""
    is_hidden = task.is_hidden(now.tokens).any()
    is_early = now.step < limit
    return jnp.where(
      is_early, is_hidden | (not is_final), is_hidden & (now.step == limit)
    )

  def run_pass(now: Progress) -> Progress:
    """Reads and writes once."""
    turn = _begin(task, now, pace, grid)
    t = time(turn)
    logits = _read(task, now, t)
    tokens, memory = jax.lax.cond(
      now.step < limit,
      lambda: _apply(rule, turn, logits),
      lambda: (_fill(task, now.tokens, logits), now.memory),
    )
    if settings.eos_id is not None:
      tokens = _end_rows(task, tokens, settings.eos_id)
    now = _keep(now, tokens, t, limit) if settings.keeps_history else now
    return now._replace(
      step=now.step + 1,
      tokens=tokens,
      memory=memory,
      logits=logits if settings.caches else (),
      is_stale=(tokens != now.tokens).any(),
      calls=now.calls + (now.is_stale if settings.caches else 1),
    )

  end = jax.lax.while_loop(is_running, run_pass, _start(task, memory, limit))
  passes = jnp.arange(end.canvases.shape[0])
  passes = jnp.clip(passes, 0, jnp.maximum(end.step - 1, 0))  # repeats the last one
  return Sampled(end.tokens, end.canvases[passes], end.times[passes], end.calls)


def _start(task: Task, memory: Any, limit: int) -> Progress:
  """Nothing read yet."""
  b, n = task.canvas.shape
  kept = limit if task.settings.keeps_history else 0
  logits: Any = ()
  if task.settings.caches:
    time = jax.ShapeDtypeStruct((b,), jnp.float32)
    shape = jax.eval_shape(lambda x, t: _call(task, x, t), task.canvas, time)
    logits = jnp.zeros(shape.shape, shape.dtype)
  return Progress(
    step=jnp.zeros((), jnp.int32),
    tokens=task.canvas,
    memory=memory,
    logits=logits,
    is_stale=jnp.ones((), bool),
    calls=jnp.zeros((), jnp.int32),
    canvases=jnp.broadcast_to(task.canvas, (kept, b, n)),
    times=jnp.zeros((kept, b)),
  )


def _begin(task: Task, now: Progress, pace: Pace, grid: Grid) -> Turn:
  """What the rule sees of the pass that is due."""
  place, places = pace.place(now.step)
  t, s = grid(place, places)
  window = pace.window(now.step)
  return Turn(
    place=place,
    places=places,
    t=t,
    s=s,
    keys=fold_keys(task.keys, now.step),
    tokens=now.tokens,
    free=task.free & window,
    hidden=task.is_hidden(now.tokens) & window,
    memory=now.memory,
  )


def _keep(
  now: Progress, tokens: Int[Array, "b n"], t: Float[Array, "b"], limit: int
) -> Progress:
  """Adds a pass to the history; the one that fills up replaces the one before."""
  at = jnp.minimum(now.step, limit - 1)
  canvases, times = now.canvases.at[at].set(tokens), now.times.at[at].set(t)
  return now._replace(canvases=canvases, times=times)


def _read(task: Task, now: Progress, t: Float[Array, "b"]) -> Float[Array, "b n v"]:
  """The logits of this pass, from the predictor or from the pass before."""
  if not task.settings.caches:
    return _call(task, now.tokens, t)
  return jax.lax.cond(
    now.is_stale, lambda: _call(task, now.tokens, t), lambda: now.logits
  )


def _call(
  task: Task, tokens: Int[Array, "b n"], t: Float[Array, "b"]
) -> Float[Array, "b n v"]:
  """Calls the predictor; what is never to be drawn has no probability."""
  logits = task.predict(tokens, t).astype(jnp.float32)
  return exclude_classes(logits, task.settings.never_ids)


def _apply(
  rule: Rule, turn: Turn, logits: Float[Array, "b n v"]
) -> tuple[Int[Array, "b n"], Any]:
  after = rule(turn, logits)
  return after.tokens, after.memory


def _fill(
  task: Task, tokens: Int[Array, "b n"], logits: Float[Array, "b n v"]
) -> Int[Array, "b n"]:
  """The likeliest token wherever one is still hidden."""
  return jnp.where(task.is_hidden(tokens), likeliest(logits), tokens)


def _end_rows(task: Task, tokens: Int[Array, "b n"], eos_id: int) -> Int[Array, "b n"]:
  """Fills a row with EOS once nothing is hidden before its first one.

  An EOS that was given, as in a prompt, ends nothing.
  """
  is_eos = task.free & (tokens == eos_id)
  is_hidden = task.is_hidden(tokens)
  is_after = (jnp.cumsum(is_eos, axis=-1) - is_eos) > 0
  is_read = ~(is_hidden & ~is_after).any(axis=-1, keepdims=True)
  return jnp.where(is_hidden & is_after & is_read, eos_id, tokens)
