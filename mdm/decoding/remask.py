"""Remasking: samplers that hide revealed tokens again, so that errors can be mended.

From t to s a revealed position is hidden with probability sigma, and a hidden one is
revealed with probability (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t). With
0 <= sigma <= sigma_max = min(1, (1 - alpha_s) / alpha_t) the marginal at each time is
that of the forward process, whatever sigma is, so any trained predictor will do;
sigma = 0 is ancestral sampling. The samplers differ in sigma alone:

  remdm_cap      min(eta, sigma_max)
  remdm_rescale  eta sigma_max
  remdm_conf     sigma_max softmax(-p), p each token's probability when it was drawn
  remdm_loop     eta while a share alpha_on is visible, 0 before and after

Source: *Remasking Discrete Diffusion Models with Inference-Time Scaling*, 2025,
sections 3 and 4; github kuleshov-group/remdm.
Differences: sigma never exceeds sigma_max, also in the loop; the loop tells the
predictor the time that fits what is hidden. As released, remdm_conf reveals as if its
sigma were 0 at hidden positions, so that its marginals are only near the others'.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mdm.decoding.draw import adjust_logits, draw_tokens, flip_coins, token_probs
from mdm.decoding.grids import grid_times
from mdm.decoding.passes import Grid, Sampled, Task, Turn, run_passes
from mdm.decoding.settings import ETA
from mdm.masks.keys import split_keys
from mdm.masks.schedule import TINY


class Span(NamedTuple):
  """One pass's interval: visible shares at its start and end, and sigma_max."""

  alpha_t: Float[Array, "b"]
  alpha_s: Float[Array, "b"]
  most: Float[Array, "b"]


# From a pass's turn and span to sigma, of each row [b] or each position [b n].
Sigma = Callable[[Turn, Span], jax.Array]


def sample_remdm(task: Task, sampler: str) -> Sampled:
  """Samples by one of the four rules above."""
  settings = task.settings
  eta = ETA.get(sampler, 0.0) if settings.eta is None else settings.eta
  if sampler == "remdm_cap":
    return sample_revising(task, lambda turn, span: jnp.minimum(eta, span.most))
  if sampler == "remdm_rescale":
    return sample_revising(task, lambda turn, span: eta * span.most)
  if sampler == "remdm_conf":
    return sample_revising(task, _by_confidence, remembers=True)

  def in_the_loop(turn: Turn, span: Span) -> Float[Array, "b"]:
    """Eta in the loop, 0 elsewhere."""
    t, _ = grid_times(turn.place, turn.places, settings.grid)
    is_on = (t <= settings.t_on) & (t > settings.t_off)
    return jnp.where(is_on, jnp.minimum(eta, span.most), 0.0)

  return sample_revising(task, in_the_loop, grid=_loop_grid(task))


def sample_revising(
  task: Task,
  sigma: Sigma,
  *,
  grid: Grid | None = None,
  num_steps: int | None = None,
  remembers: bool = False,
) -> Sampled:
  """Ancestral sampling that hides again with probability sigma.

  Args:
    task: what to sample.
    sigma: probability to hide a revealed position in a pass.
    grid: times of the passes, if not those of the settings.
    num_steps: their number, if not that of the settings.
    remembers: whether the turn's memory holds each token's probability when drawn.
  """
  settings = task.settings

  def revise(turn: Turn, logits: Float[Array, "b n v"]) -> Turn:
    """Goes from time t to s."""
    coin_key, token_key = split_keys(turn.keys, 2)
    span = find_span(task, turn)
    hides = sigma(turn, span)
    hides = hides if hides.ndim == 2 else hides[:, None]  # b 1 or b n
    rate_t = jnp.maximum(task.schedule.rate(turn.t), TINY)[:, None]
    reveals = task.schedule.reveal(turn.s, turn.t)[:, None]
    reveals = reveals + hides * span.alpha_t[:, None] / rate_t
    prob = jnp.where(turn.hidden, reveals, hides)
    is_turned = flip_coins(coin_key, jnp.where(turn.free, prob, 0.0))
    drawn = draw_tokens(
      token_key,
      logits,
      temperature=settings.temperature,
      top_p=settings.top_p,
      where=is_turned & turn.hidden,
    )
    fresh = jnp.where(turn.hidden, drawn, task.mask_id)
    tokens = jnp.where(is_turned, fresh, turn.tokens)
    if not remembers:
      return turn._replace(tokens=tokens)
    probs = token_probs(
      adjust_logits(logits, settings.temperature, settings.top_p), drawn
    )
    memory = jnp.where(is_turned & turn.hidden, probs, turn.memory)
    return turn._replace(tokens=tokens, memory=memory)

  return run_passes(
    task,
    revise,
    num_steps=settings.num_steps if num_steps is None else num_steps,
    grid=grid,
    memory=jnp.zeros(task.canvas.shape) if remembers else (),
    is_final=False,
  )


def find_span(task: Task, turn: Turn) -> Span:
  """The visible shares of a pass's interval and the largest sigma they allow."""
  alpha_t, alpha_s = task.schedule.alpha(turn.t), task.schedule.alpha(turn.s)
  most = task.schedule.rate(turn.s) / jnp.maximum(alpha_t, TINY)
  return Span(alpha_t, alpha_s, jnp.minimum(most, 1.0))


def _by_confidence(turn: Turn, span: Span) -> Float[Array, "b n"]:
  """sigma_max shared out over what is revealed: softmax of minus the probability."""
  is_shown = turn.free & ~turn.hidden
  share = jnp.where(is_shown, jnp.exp(-turn.memory), 0.0)
  share = share / jnp.maximum(share.sum(axis=-1, keepdims=True), TINY)
  return span.most[:, None] * share


def _loop_grid(task: Task) -> Grid:
  """Times that stand still at alpha_on between t_on and t_off."""
  settings = task.settings
  held = task.schedule.inverse(settings.alpha_on)
  knots = np.asarray([0.0, settings.t_off, settings.t_on, 1.0], np.float32)

  def times(
    place: Int[Array, "b"], places: Int[Array, "b"]
  ) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """The grid's t and s, bent."""
    bent = jnp.stack([jnp.zeros(()), held, held, jnp.ones(())])
    t, s = grid_times(place, places, settings.grid)
    return jnp.interp(t, knots, bent), jnp.interp(s, knots, bent)

  return times
