"""Times of a sampler's passes."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.grids import GRIDS, corrector_rates, corrector_strength, grid_times


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_times_go_from_one_to_zero_without_a_gap(grid, steps):
  t, s = grid_times(jnp.arange(steps), jnp.full(steps, steps), grid)
  assert t[0] == 1 and s[-1] == 0
  assert (t[1:] == s[:-1]).all()
  assert (t > s).all()


def test_grids_have_their_published_form():
  place, places = jnp.arange(8), jnp.full(8, 8)
  t = 1 - np.arange(8) / 8
  np.testing.assert_allclose(grid_times(place, places, "uniform")[0], t, rtol=1e-6)
  cosine = np.cos(np.pi / 2 * (1 - t))
  np.testing.assert_allclose(grid_times(place, places, "cosine")[0], cosine, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 16, 300])
def test_corrector_steps_are_short_and_keep_probabilities_in_range(steps):
  rates = corrector_rates(steps).astype(np.float64)
  m, taken = rates[:-1], -np.diff(rates)
  assert rates[0] == 1 and rates[-1] == 0
  assert (taken > 0).all() and taken.max() < 1 / steps + 1e-6
  assert m[-1] < 1 / steps + 1e-6
  b = np.asarray(corrector_strength(m))[1:-1]
  assert ((1 + b) * taken[1:-1] / m[1:-1] < 1 + 1e-5).all()
  assert (b * taken[1:-1] / (1 - m[1:-1]) < 1 + 1e-5).all()


def test_corrector_steps_follow_the_released_loop():
  """The loop of the original in float64, on the linear schedule."""
  t, times = 1.0, [1.0]
  while t > 1 / 16:
    a = 10 * t**0.25 * (1 - t) ** 0.25 + 1
    t -= 1 / 16 if t == 1 else min(1 / 16, 1 / (a / t + (a - 1) / (1 - t)))
    times.append(t)
  np.testing.assert_allclose(corrector_rates(16), [*times, 0.0], rtol=1e-6)
