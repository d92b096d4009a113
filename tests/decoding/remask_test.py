"""Samplers that hide again: marginals kept, and each sampler's own sigma."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import TRIPLE, chi_square

from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys
from mdm.masks.schedule import MaskSchedule

ROWS, N, V = 4096, 6, 3
KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))
HIDDEN = jnp.full((ROWS, N), V)
SCHEDULE = MaskSchedule("polynomial", 2.0)
ETA = {"remdm_cap": 0.3, "remdm_rescale": 0.3}
# One position is likelier to be right than all others: its first class has 0.9.
LOGITS = jnp.zeros((N, V)).at[0, 0].set(np.log(18.0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def run(sampler, settings):
  predict = lambda tokens, t: jnp.broadcast_to(LOGITS, (*tokens.shape, V))  # noqa: E731
  return sample(
    predict, HIDDEN, KEYS, sampler, mask_id=V, settings=settings, schedule=SCHEDULE
  )


@functools.cache
def ran(sampler, **settings):
  plain = {"num_steps": 6, "keeps_history": True, "eta": ETA.get(sampler)}
  settings = SamplerSettings(**(plain | settings))
  return jax.tree.map(np.asarray, run(sampler, settings))


def remasked(result):
  """Share of revealed positions that each pass hides again, by position."""
  canvases = np.concatenate([np.asarray(HIDDEN)[None], result.canvases])
  shown, hidden = canvases[:-1] != V, canvases[1:] == V
  return (shown & hidden).sum(1) / np.maximum(shown.sum(1), 1)  # s n


def alphas(result):
  """Visible shares at the start and end of each pass."""
  times = [float(t) for t in result.times[:, 0]]
  alpha = np.asarray([*(SCHEDULE.alpha(t) for t in times), 1.0], np.float64)
  return alpha[:-1], alpha[1:]


def sigma_max(result):
  alpha_t, alpha_s = alphas(result)
  return np.minimum(1, (1 - alpha_s) / np.maximum(alpha_t, 1e-9))


@pytest.mark.parametrize(
  "sampler", ["remdm_cap", "remdm_rescale", "forward_backward", "flow_corrector"]
)
def test_the_hidden_share_at_each_time_is_that_of_the_forward_process(sampler):
  result = ran(sampler)
  share = (result.canvases == V).mean((1, 2))
  tolerance = 4 * (0.25 / ROWS / N) ** 0.5
  np.testing.assert_allclose(share, 1 - alphas(result)[1], atol=tolerance)


@pytest.mark.parametrize("sampler", ["remdm_cap", "remdm_rescale", "forward_backward"])
def test_revealed_positions_are_hidden_with_probability_sigma(sampler):
  result = ran(sampler)
  (alpha_t, alpha_s), most = alphas(result), sigma_max(result)
  sigma = {
    "remdm_cap": np.minimum(0.3, most),
    "remdm_rescale": 0.3 * most,
    "forward_backward": np.minimum(alpha_s / np.maximum(alpha_t, 1e-9) - 1, most),
  }[sampler]
  share = remasked(result).mean(1)
  np.testing.assert_allclose(share[1:], sigma[1:], atol=0.025)
  assert share[-1] == 0 and share.max() > 0.1


def test_hiding_nothing_again_is_ancestral_sampling_sample_for_sample():
  plain, never = ran("ancestral"), ran("remdm_cap", eta=0.0)
  assert (plain.canvases == never.canvases).all()


def test_by_confidence_the_improbable_is_hidden_more_often():
  """sigma_max times the softmax of -p over what is revealed: one a pass or fewer."""
  result = ran("remdm_conf")
  share = remasked(result)
  assert (share[2:4, 0] < share[2:4, 1:].min(1)).all()
  shown = (result.canvases[2] != V).sum(1)
  again = ((result.canvases[2] != V) & (result.canvases[3] == V)).sum(1)
  expected = sigma_max(result)[3] * (shown > 0).mean()
  assert abs(again.mean() - expected) < 4 * again.std() / ROWS**0.5


def test_the_loop_holds_its_share_and_hides_only_there():
  result = ran("remdm_loop", num_steps=10, eta=0.05, alpha_on=0.7, t_on=0.5, t_off=0.2)
  hidden, again = (result.canvases == V).mean((1, 2)), remasked(result).mean(1)
  held = 0.3**0.5  # at this time 0.3 are hidden on the schedule 1 - t^2
  times = np.interp(np.arange(11) / 10, [0, 0.2, 0.5, 1], [0, held, held, 1])[::-1]
  np.testing.assert_allclose(result.times[:, 0], times[:-1], atol=1e-5)
  np.testing.assert_allclose(hidden, times[1:] ** 2, atol=0.015)
  np.testing.assert_allclose(again[5:8], 0.05, atol=0.01)
  assert (again[:5] == 0).all() and (again[8:] == 0).all()


def test_with_true_conditionals_many_revisions_keep_the_law():
  settings = SamplerSettings(num_steps=100, eta=0.05)
  canvas = jnp.full((ROWS, 3), TRIPLE.mask_id)
  draw = jax.jit(
    lambda: sample(
      TRIPLE.predict, canvas, KEYS, "remdm_cap", mask_id=3, settings=settings
    )
  )
  assert chi_square(TRIPLE.count(draw().tokens), TRIPLE.flat) < 4
