"""First-hitting sampling: jump from one reveal to the next, with no time in between.

With n positions hidden, the next reveal comes when the mask rate m has fallen to
m u^(1/n), u uniform; it is of a uniformly chosen position. As many passes as hidden
positions, and the law of ancestral sampling in infinitely many steps.

Source: *Masked Diffusion Models are Secretly Time-Agnostic Masked Models*, 2024,
section 4 (first-hitting sampler).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.decoding.draw import draw_tokens
from mdm.decoding.passes import Sampled, Task, Turn, run_passes
from mdm.masks.keys import split_keys, uniform_rows


def sample_first_hitting(task: Task) -> Sampled:
  """Reveals one position a pass, uniformly chosen; `memory` is the mask rate."""
  settings, rows = task.settings, jnp.arange(task.canvas.shape[0])

  def next_rate(turn: Turn) -> Float[Array, "b"]:
    """The mask rate at which the next position is revealed; a block starts at 1."""
    time_key, _, _ = split_keys(turn.keys, 3)
    u = 1.0 - uniform_rows(time_key, 1)[:, 0]  # in (0, 1]
    hidden = jnp.maximum(turn.hidden.sum(axis=-1), 1)
    return jnp.where(turn.place == 0, 1.0, turn.memory) * u ** (1.0 / hidden)

  def reveal_one(turn: Turn, logits: Float[Array, "b n v"]) -> Turn:
    """Reveals one position."""
    _, place_key, token_key = split_keys(turn.keys, 3)
    noise = jnp.where(turn.hidden, uniform_rows(place_key, turn.hidden.shape[1]), -1.0)
    at = jnp.argmax(noise, axis=-1)  # b
    drawn = draw_tokens(
      token_key,
      logits[rows, at][:, None],  # b 1 v
      temperature=settings.temperature,
      top_p=settings.top_p,
      where=turn.hidden[rows, at][:, None],
    )[:, 0]
    written = jnp.where(turn.hidden[rows, at], drawn, turn.tokens[rows, at])
    return turn._replace(
      tokens=turn.tokens.at[rows, at].set(written), memory=next_rate(turn)
    )

  return run_passes(
    task,
    reveal_one,
    num_steps=None,
    time=lambda turn: task.schedule.inverse(1.0 - next_rate(turn)),
    memory=jnp.ones(task.canvas.shape[0]),
  )
