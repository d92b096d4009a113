"""The loop behind most decoders: read, commit some positions, read again.

Each pass reads the whole canvas and writes what a rule chooses to commit. Committed
tokens stay; a position's probabilities are those of the last pass in which it was
hidden. A row stops by itself, so that no row depends on its neighbours: the loop ends
when all have stopped, and rows that stopped before are left as they were.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.decoding.reader import Decoded, Reader


class Pass(NamedTuple):
  """What a rule knows when it chooses; `valid` is hidden and before or at the EOS."""

  step: Int[Array, ""]
  confidence: Float[Array, "b n"]
  valid: Bool[Array, "b n"]


class Progress(NamedTuple):
  """The loop's state."""

  step: Int[Array, ""]
  canvas: Int[Array, "b n"]
  probs: Float[Array, "b n v"]
  is_settled: Bool[Array, "b"]
  is_active: Bool[Array, "b"]
  canvases: Int[Array, "s b n"]
  confidences: Float[Array, "s b n"]


Rule = Callable[[Pass], jax.Array]


def reveal(
  reader: Reader,
  canvas: Int[Array, "b n"],
  rule: Rule,
  *,
  num_steps: int,
  stops_when_read: bool = False,
) -> Decoded:
  """Reads a canvas in up to `num_steps` passes, committing what `rule` chooses.

  Args:
    reader: the predictor.
    canvas: where to start; positions that are not MASK are given and never change.
    rule: from a pass to the positions to commit; given ones are kept in any case.
    num_steps: passes at most.
    stops_when_read: a row stops once nothing is hidden before the EOS on its canvas.
      Otherwise it stops one pass after at most one valid position was left hidden.
  """
  start = _start(reader, canvas, num_steps)

  def is_running(now: Progress) -> Bool[Array, ""]:
    """Whether passes and active rows are left."""
    return (now.step < num_steps) & now.is_active.any()

  def run_pass(now: Progress) -> Progress:
    """Reads once and commits what the rule chooses."""
    fresh = reader.read(now.canvas)
    guess = jnp.argmax(fresh, axis=-1)
    is_open = (now.canvas == reader.mask_id) & now.is_active[:, None]
    until_eos = reader.up_to_eos(guess)
    seen = Pass(now.step, fresh.max(axis=-1), is_open & until_eos)
    canvas = jnp.where(rule(seen) & is_open, guess, now.canvas)
    probs = jnp.where(is_open[..., None], fresh, now.probs)
    is_hidden = canvas == reader.mask_id
    if stops_when_read:
      is_settled = ~(is_hidden & reader.up_to_eos(canvas)).any(axis=-1)
      is_over = is_settled
    else:
      is_settled = (is_hidden & until_eos).sum(axis=-1) <= 1
      is_over = now.is_settled
    return Progress(
      step=now.step + 1,
      canvas=canvas,
      probs=probs,
      is_settled=is_settled,
      is_active=now.is_active & ~is_over,
      canvases=now.canvases.at[now.step].set(canvas),
      confidences=now.confidences.at[now.step].set(probs.max(axis=-1)),
    )

  end = jax.lax.while_loop(is_running, run_pass, start)
  passes = jnp.minimum(jnp.arange(num_steps), end.step - 1)  # repeats the last one
  return reader.finish(end.probs, end.canvases[passes], end.confidences[passes])


def _start(reader: Reader, canvas: Int[Array, "b n"], num_steps: int) -> Progress:
  """Nothing read yet: what is given is certain, what is hidden has no probability."""
  b, n = canvas.shape
  return Progress(
    step=jnp.zeros((), jnp.int32),
    canvas=canvas,
    probs=jax.nn.one_hot(canvas, reader.num_classes(canvas)),  # MASK has no class
    is_settled=jnp.zeros(b, bool),
    is_active=jnp.ones(b, bool),
    canvases=jnp.zeros((num_steps, b, n), canvas.dtype),
    confidences=jnp.zeros((num_steps, b, n)),
  )
