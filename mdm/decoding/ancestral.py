"""Ancestral sampling: run the forward process backwards, one interval at a time.

From t to s < t each hidden position is revealed by itself with probability
(alpha_s - alpha_t) / (1 - alpha_t), its token drawn from the prediction. With logits
reused where nothing changed (`caches`), T passes over L positions of one row call the
predictor T (1 - (1 - 1/T)^L) times on average.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, section
4; *Simple and Effective Masked Diffusion Language Models*, 2024, section 4.1.
Differences: coin and token are drawn apart, where the released codes draw once among
all tokens and MASK; the law is the same.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.decoding.draw import draw_tokens, flip_coins
from mdm.decoding.passes import Sampled, Task, Turn, run_passes
from mdm.masks.keys import split_keys


def sample_ancestral(task: Task) -> Sampled:
  """Reveals each position by a coin of its own; no token changes afterwards."""
  settings = task.settings

  def reveal(turn: Turn, logits: Float[Array, "b n v"]) -> Turn:
    """Goes from time t to s."""
    coin_key, token_key = split_keys(turn.keys, 2)
    prob = task.schedule.reveal(turn.s, turn.t)[:, None]  # b 1
    is_revealed = flip_coins(coin_key, jnp.where(turn.hidden, prob, 0.0))
    drawn = draw_tokens(
      token_key,
      logits,
      temperature=settings.temperature,
      top_p=settings.top_p,
      where=is_revealed,
    )
    return turn._replace(tokens=jnp.where(is_revealed, drawn, turn.tokens))

  return run_passes(task, reveal, num_steps=settings.num_steps)
