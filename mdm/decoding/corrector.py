"""Predictor-corrector samplers: reveal too much, hide the excess again.

Both are remasking (remask.py) with a sigma of their own, b (alpha_s - alpha_t) /
alpha_t: what the forward process would hide in the same time, b times. Hidden positions
are then revealed at 1 + b times the ancestral rate.

  forward_backward  b = 1
  flow_corrector    b = 10 m^.25 (1 - m)^.25 of the hidden share m, in steps so short
                    that probabilities stay within 1

Source: *A Continuous Time Framework for Discrete Denoising Models*, 2022, section 4.4
(forward-backward); *Discrete Flow Matching*, Gat et al., 2024, appendix D; both as in
github kuleshov-group/remdm.
Differences: sigma never exceeds sigma_max; the released forward-backward lets it, and
has negative probabilities in its last steps. The last step of flow_corrector draws
what is still hidden, where the released one takes the likeliest tokens. The corrector
is stated in the hidden share, which is the released time on the linear schedule.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.decoding.grids import corrector_rates, corrector_strength
from mdm.decoding.passes import Sampled, Task, Turn
from mdm.decoding.remask import Span, sample_revising
from mdm.masks.schedule import TINY


def sample_forward_backward(task: Task) -> Sampled:
  """Hides again at the rate of the forward process."""
  return sample_revising(task, lambda turn, span: _forward(span, 1.0))


def sample_flow_corrector(task: Task) -> Sampled:
  """Discrete flow matching with its corrector, at most 1 / num_steps to a pass."""
  rates = jnp.asarray(corrector_rates(task.settings.num_steps))

  def times(
    place: Int[Array, "b"], places: Int[Array, "b"]
  ) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """When the hidden share is that of the table."""
    times = task.schedule.inverse(1.0 - rates)
    return times[place], times[place + 1]

  def sigma(turn: Turn, span: Span) -> Float[Array, "b"]:
    """B times the rate of the forward process."""
    return _forward(span, corrector_strength(task.schedule.rate(turn.t)))

  return sample_revising(task, sigma, grid=times, num_steps=rates.shape[0] - 1)


def _forward(span: Span, times: float | Float[Array, "b"]) -> Float[Array, "b"]:
  """(alpha_s - alpha_t) / alpha_t, so many times, and at most sigma_max."""
  rate = (span.alpha_s - span.alpha_t) / jnp.maximum(span.alpha_t, TINY)
  return jnp.minimum(times * rate, span.most)
