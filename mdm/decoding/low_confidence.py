"""Low-confidence remasking: guess everything, keep the surest, hide the rest again.

Each pass draws a candidate for every hidden position and commits the n_i whose
probability is highest; n hidden positions in S passes give n_i = floor(n / S), and one
more in the first n mod S passes. What is committed is never revised. In blocks
(pace.py), each block has its own count and passes.

Source: *Large Language Diffusion Models*, 2025, section 2.4, algorithm 5 and appendix
B.4 (tokens that must wait); github ML-GSAI/LLaDA.
Differences: confidence is the probability among the tokens that need not wait, 0 for
those that must: what the released code does at temperature 0, where editing the
perturbed logits also edits the clean ones, and misses at other temperatures. A pass
commits its n_i even when all that is left must wait.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.decoding.draw import draw_tokens, exclude_classes, token_probs
from mdm.decoding.passes import Sampled, Task, Turn, run_passes
from mdm.masks.keys import split_keys, uniform_rows


def sample_low_confidence(task: Task) -> Sampled:
  """Commits the surest candidates of each pass."""
  settings = task.settings

  def commit_surest(turn: Turn, logits: Float[Array, "b n v"]) -> Turn:
    """Draws candidates and commits the first n_i by confidence."""
    token_key, order_key = split_keys(turn.keys, 2)
    drawn = draw_tokens(
      token_key,
      logits,
      temperature=settings.temperature,
      top_p=settings.top_p,
      where=turn.hidden,
    )
    if settings.confidence == "random":
      is_late = jnp.isin(drawn, jnp.asarray(settings.late_ids, jnp.int32))
      noise = uniform_rows(order_key, drawn.shape[1])
      confidence = jnp.where(is_late, 0.0, noise)
    else:
      confidence = token_probs(exclude_classes(logits, settings.late_ids), drawn)
    count = count_commits(turn.free.sum(axis=-1), turn.place, turn.places)
    is_chosen = choose_surest(confidence, turn.hidden, count)
    return turn._replace(tokens=jnp.where(is_chosen, drawn, turn.tokens))

  return run_passes(
    task,
    commit_surest,
    num_steps=settings.num_steps,
    time=lambda turn: task.hidden_time(turn.tokens),
  )


def count_commits(
  hidden: Int[Array, "*dims"], place: Int[Array, "*dims"], places: Int[Array, "*dims"]
) -> Int[Array, "*dims"]:
  """Positions to commit in pass `place` of `places`; they add up to `hidden`."""
  return hidden // places + (place < hidden % places)


def choose_surest(
  confidence: Float[Array, "b n"], hidden: Bool[Array, "b n"], count: Int[Array, "b"]
) -> Bool[Array, "b n"]:
  """The `count` hidden positions of each row with the highest confidence.

  Of equals the left one goes first.
  """
  order = jnp.argsort(-jnp.where(hidden, confidence, -jnp.inf), axis=-1)
  rank = jnp.argsort(order, axis=-1)  # b n
  return hidden & (rank < count[:, None])
