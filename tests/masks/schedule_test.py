"""Schedules against autodiff, their inverses, the published table and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.schedule import MaskSchedule, make_schedule

SHAPES = [("linear", 1.0), ("polynomial", 2.0), ("polynomial", 5.0), ("cosine", 1.0)]
ENDS = [(0.0, 1.0), (1e-4, 1 - 1e-4), (1e-3, 1.0), (0.0, 1 - 1e-3)]
EVERY = [MaskSchedule(*shape, *ends) for shape in SHAPES for ends in ENDS]
BASE = EVERY[:: len(ENDS)]
MD4, MDLM, LLADA = (MaskSchedule("linear", 1.0, *ends) for ends in ENDS[1:])
T = jnp.linspace(0.01, 0.99, 99)
every = pytest.mark.parametrize("schedule", EVERY, ids=str)
base = pytest.mark.parametrize("schedule", BASE, ids=str)


def rate64(schedule, t):
  """The mask rate in double precision, written as the table has it."""
  t = np.asarray(t, np.float64)
  base = np.cos(np.pi / 2 * (1 - t)) if schedule.name == "cosine" else t
  base = t**schedule.power if schedule.name == "polynomial" else base
  return 1 - schedule.high + (schedule.high - schedule.low) * base


@every
def test_slope_is_the_derivative_of_alpha(schedule):
  derivative = jax.vmap(jax.grad(schedule.alpha))(T)
  np.testing.assert_allclose(schedule.slope(T), derivative, rtol=1e-5, atol=1e-7)


@every
def test_weight_is_minus_slope_over_rate_and_rate_is_one_minus_alpha(schedule):
  np.testing.assert_allclose(schedule.rate(T), 1 - schedule.alpha(T), atol=1e-6)
  quotient = -schedule.slope(T) / schedule.rate(T)
  np.testing.assert_allclose(schedule.weight(T), quotient, rtol=1e-5)


@every
def test_inverse_returns_the_time_of_an_alpha(schedule):
  ends = [float(schedule.inverse(schedule.alpha(t))) for t in (0, 1)]
  np.testing.assert_allclose(ends, [0, 1], atol=1e-6)
  # Where alpha is flat, float32's alpha tells the time only to its rounding / slope.
  atol = 3e-7 / np.minimum(1, -np.asarray(schedule.slope(T)))
  assert (abs(schedule.inverse(schedule.alpha(T)) - T) < atol).all()


def test_weights_are_those_of_the_published_table():
  t = np.asarray(T, np.float64)
  table = [1 / t, 2 / t, 5 / t, np.pi / 2 * np.tan(np.pi / 2 * (1 - t))]
  for schedule, weight in zip(BASE, table, strict=True):
    np.testing.assert_allclose(schedule.weight(T), weight, rtol=2e-6)


def test_published_corners_have_their_published_weights():
  e = 1e-4
  np.testing.assert_allclose(
    MD4.weight(T), (1 - 2 * e) / ((1 - 2 * e) * T + e), rtol=1e-6
  )
  np.testing.assert_array_equal(MDLM.weight(T), 1 / T)
  np.testing.assert_allclose(LLADA.rate(T), 0.999 * T + 1e-3, rtol=1e-6)
  assert float(LLADA.rate(0)) == pytest.approx(1e-3, 1e-6)


@every
def test_everything_is_finite_float32_and_in_range_at_and_near_the_ends(schedule):
  t = jnp.array([0.0, 1e-38, 1e-30, 1e-10, 2.0**-24, 1 - 2.0**-24, 1.0])
  for verb in (schedule.alpha, schedule.rate, schedule.slope, schedule.weight):
    assert verb(t).dtype == jnp.float32
    assert jnp.isfinite(verb(t)).all()
  for share in (schedule.alpha(t), schedule.rate(t), schedule.reveal(0.0, t)):
    assert ((share >= 0) & (share <= 1)).all()
  assert float(schedule.alpha(1)) == pytest.approx(schedule.low, abs=1e-9)
  assert float(schedule.rate(0)) == pytest.approx(1 - schedule.high, abs=1e-9)


@base
def test_small_ends_keep_all_their_digits(schedule):
  t = jnp.array([1e-6, 1e-4])
  np.testing.assert_allclose(schedule.rate(t), rate64(schedule, t), rtol=1e-6)
  late = jnp.array([1 - 1e-3, 1 - 1e-5])
  if schedule.name != "polynomial":
    np.testing.assert_allclose(
      schedule.alpha(late), 1 - rate64(schedule, late), rtol=1e-5
    )


def test_the_bound_does_not_depend_on_the_schedule():
  # Time-free predictor: E[CE of the hidden at rate m] = m (c0 + c1 m + c2 m^2).
  nodes, areas = np.polynomial.legendre.leggauss(64)
  t = jnp.asarray((nodes + 1) / 2)
  bounds = []
  for schedule in BASE:
    rate = schedule.rate(t)
    loss = rate * (0.5 + 0.3 * rate + 0.7 * rate**2)
    bounds.append(float((schedule.weight(t) * loss * areas / 2).sum()))
  np.testing.assert_allclose(bounds, 0.5 + 0.3 / 2 + 0.7 / 3, rtol=1e-5)


@every
@pytest.mark.parametrize("steps", [1, 7, 64])
def test_discrete_weight_equals_both_published_forms(schedule, steps):
  t = np.arange(1, steps + 1, dtype=np.float32) / np.float32(steps)
  s = np.maximum(t - np.float32(1 / steps), 0)
  alpha_t, alpha_s = 1 - rate64(schedule, t), 1 - rate64(schedule, s)
  plain = steps * (alpha_s - alpha_t) / (1 - alpha_t)
  ours = schedule.discrete_weight(jnp.asarray(t), steps)
  np.testing.assert_allclose(ours, plain, rtol=1e-5 * max(1, steps / 8))  # s rounds
  inner = (alpha_s < 1) & (alpha_t > 0)
  g_t, g_s = (np.log(a[inner]) - np.log1p(-a[inner]) for a in (alpha_t, alpha_s))
  written = steps * -np.expm1(g_t - g_s) * alpha_s[inner]
  np.testing.assert_allclose(written, plain[inner], rtol=1e-9)


@base
def test_discrete_weight_tends_to_the_continuous_one(schedule):
  t = jnp.array([0.25, 0.5, 0.75])
  errors = [
    np.abs(schedule.discrete_weight(t, steps) / schedule.weight(t) - 1).max()
    for steps in (64, 512, 4096)
  ]
  assert errors[2] < 2e-3
  if schedule.name != "linear":  # linear is exact at every T: 1 / t
    assert errors[1] < errors[0] / 7 and errors[2] < errors[1] / 6


@base
def test_reveal_is_exact_for_close_times_at_both_ends(schedule):
  s, t = jnp.array([1e-5, 0.999, 0.4999]), jnp.array([2e-5, 0.9995, 0.5])
  exact = 1 - rate64(schedule, s) / rate64(schedule, t)
  np.testing.assert_allclose(schedule.reveal(s, t), exact, rtol=1e-5)


@every
def test_reveals_compose_over_a_middle_time(schedule):
  stay = 1 - schedule.reveal(0.5, 0.9)
  parts = (1 - schedule.reveal(0.5, 0.6)) * (1 - schedule.reveal(0.6, 0.9))
  assert float(stay) == pytest.approx(float(parts), 1e-5)


def test_a_schedule_is_hashable_and_static_under_jit():
  alpha = jax.jit(MaskSchedule.alpha, static_argnums=0)
  assert float(alpha(MaskSchedule(), 0.25)) == 0.75
  assert make_schedule("cosine", low=0.1) == MaskSchedule("cosine", 1.0, 0.1)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"name": "cosin"}, "did you mean 'cosine'"),
    ({"name": "polynomial", "power": 0}, "above 0"),
    ({"name": "linear", "power": 2}, "polynomial"),
    ({"low": 0.6, "high": 0.5}, "low < high"),
    ({"high": 1.5}, "low < high"),
  ],
)
def test_wrong_settings_are_named(settings, message):
  with pytest.raises(ValueError, match=message):
    make_schedule(**settings)
