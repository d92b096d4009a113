"""Autoregressive sampling with a cache: one token a pass, from left to right.

What all rows are given is read first, in one pass.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from mdm.decoding.draw import draw_tokens, exclude_classes
from mdm.decoding.passes import Sampled
from mdm.decoding.settings import SamplerSettings, check_sampling
from mdm.masks.keys import fold_keys

# (tokens [b m], cache, start, valid [b m] or None) to (logits [b m v], cache): reads
# tokens that stand at start, start + 1, ..., after what the cache holds, and adds those
# that are valid to it; the scores of a token are those of the one after it.
Extend = Callable[
  [jax.Array, Any, jax.Array | int, jax.Array | None], tuple[jax.Array, Any]
]


class Line(NamedTuple):
  """The loop's state: the next position, what is written, who has written EOS."""

  position: Int[Array, ""]
  canvas: Int[Array, "b n"]
  cache: Any
  has_ended: Bool[Array, "b"]


def sample_causal(
  extend: Extend,
  cache: Any,
  canvas: Int[Array, "b n"],
  keys: Key[Array, "b"],
  *,
  mask_id: int,
  settings: SamplerSettings,
  valid: Bool[Array, "b n"] | None = None,
  first_id: int | None = None,
  reads_ahead: bool = True,
) -> Sampled:
  """Fills what follows each row's given tokens, one position after the other.

  Args:
    extend: the cached predictor.
    cache: as it is before the first token; of the canvas's length or longer.
    canvas: given tokens, then `mask_id`; rows may differ in how many are given.
    keys: one per row; position i draws from the row's key folded with i.
    mask_id: the id of a hidden position.
    settings: temperature, top_p, never_ids, eos_id and keeps_history are read.
    valid: real positions; padding, at the end of a row, stays as it is.
    first_id: what stands before the first token; None for `mask_id`.
    reads_ahead: whether what all rows are given is read in one pass; False for token
      by token, as the others.

  Raises:
    ValueError: a given token after a hidden one, where the canvas is known already;
      settings out of range.
  """
  check_causal(canvas, settings, mask_id=mask_id, valid=valid)
  b, n = canvas.shape
  hidden = canvas == mask_id
  hidden = hidden if valid is None else hidden & valid
  first = mask_id if first_id is None else first_id
  begin = jnp.zeros((), jnp.int32)
  if reads_ahead:
    begin = jnp.where(hidden.any(axis=1), hidden.argmax(axis=1), n).min()
    cache = read_given(extend, cache, canvas, begin, first_id=first)

  def is_running(line: Line) -> Bool[Array, ""]:
    """Whether there is a position left, and a row that has not ended."""
    return (line.position < n) & ~line.has_ended.all()

  def add_token(line: Line) -> Line:
    """Reads the token before a position and draws the one there, if it is hidden."""
    i = line.position
    before = line.canvas[:, i - 1]
    before = jnp.where((i == 0) | (before == mask_id), first, before)
    logits, cache = extend(before[:, None], line.cache, i, None)
    logits = exclude_classes(logits, settings.never_ids)
    drawn = draw_tokens(
      fold_keys(keys, i), logits, temperature=settings.temperature, top_p=settings.top_p
    )[:, 0]
    has_ended = line.has_ended
    if settings.eos_id is not None:
      drawn = jnp.where(has_ended, settings.eos_id, drawn)
      has_ended |= hidden[:, i] & (drawn == settings.eos_id)
    canvas = line.canvas.at[:, i].set(jnp.where(hidden[:, i], drawn, line.canvas[:, i]))
    return Line(i + 1, canvas, cache, has_ended)

  start = Line(begin, canvas, cache, jnp.zeros(b, bool))
  end = jax.lax.while_loop(is_running, add_token, start)
  tokens = end.canvas
  if settings.eos_id is not None:  # positions that the loop did not come to
    tokens = jnp.where(hidden & (tokens == mask_id), settings.eos_id, tokens)
  steps = jnp.arange(n if settings.keeps_history else 0)
  is_written = jnp.arange(n) <= steps[:, None, None]  # s 1 n
  canvases = jnp.where(is_written, tokens, canvas)  # s b n
  times = jnp.broadcast_to(1.0 - steps[:, None] / n, (len(steps), b))  # s b
  return Sampled(tokens, canvases, times, end.position - begin + (begin > 0))


def read_given(
  extend: Extend,
  cache: Any,
  canvas: Int[Array, "b n"],
  count: Int[Array, ""],
  *,
  first_id: int,
) -> Any:
  """The cache after `first_id` and all but the last of a canvas's first `count` tokens.

  One pass over a canvas of which no more is real; none if `count` is 0.
  """
  first = jnp.full_like(canvas[:, :1], first_id)
  line = jnp.concatenate([first, canvas[:, :-1]], axis=1)  # b n
  is_read = jnp.broadcast_to(jnp.arange(canvas.shape[1]) < count, canvas.shape)
  line = jnp.where(is_read, line, first_id)

  def read(cache: Any) -> Any:
    """The pass; that it starts at 0 is known, for what is faster from there."""
    return extend(line, cache, 0, is_read)[1]

  return jax.lax.cond(count > 0, read, lambda cache: cache, cache)


def check_causal(
  canvas: Int[Array, "b n"],
  settings: SamplerSettings,
  *,
  mask_id: int,
  valid: Bool[Array, "b n"] | None = None,
) -> None:
  """Checks settings, and that given tokens come first where the canvas is known.

  Raises:
    ValueError: otherwise, before anything is compiled.
  """
  check_sampling("ancestral", settings)
  if settings.guidance > 0 or settings.block_length is not None:
    raise ValueError(
      f"guidance = {settings.guidance} and block_length = {settings.block_length} have "
      "no meaning from left to right; leave them out."
    )
  if isinstance(canvas, jax.core.Tracer) or isinstance(valid, jax.core.Tracer):
    return
  is_hidden = np.asarray(canvas) == mask_id
  is_given = ~is_hidden if valid is None else ~is_hidden & np.asarray(valid)
  is_late = is_given & (np.cumsum(is_hidden, axis=1) > 0)
  if is_late.any():
    raise ValueError(
      f"row {is_late.any(axis=1).argmax()} of the canvas has given tokens after hidden "
      "ones, which a model that writes from left to right cannot fill in; give a "
      "beginning only, or use a diffusion."
    )
