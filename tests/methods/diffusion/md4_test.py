"""MD4 and MDLM: closed forms of their bounds, in continuous time and in T steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint
from toys.rows import make_batch, run

from mdm.methods.diffusion.md4 import MD4
from mdm.methods.diffusion.mdlm import MDLM

TIMES = joint.midpoints(2048)


def value(method, function):
  """What a function of the bound method gives, as NumPy."""
  return np.asarray(method.apply({}, method=function))


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
def test_true_conditionals_in_t_steps_cost_the_entropy_and_the_information_over_t(
  steps,
):
  made = MD4(joint.Exact(), epsilon=0.0, timesteps=steps)
  times = np.arange(1, steps + 1) / steps
  found = [joint.exact_nats(made, text, times) for text in joint.TEXTS]
  mean = (np.exp(-joint.NATS) * found).sum()
  assert mean == pytest.approx(joint.ENTROPY + joint.INFORMATION / steps, abs=1e-6)


def test_the_step_limit_is_the_entropy_and_one_step_the_marginals():
  found = (joint.ENTROPY, joint.ENTROPY + joint.INFORMATION)
  np.testing.assert_allclose(found, (1.279854, 1.366159), atol=1e-6)


def test_times_of_t_steps_are_the_steps_each_equally_often():
  made = MD4(joint.Uniform(), timesteps=8)

  def draw(bound):
    return bound.draw_times(jax.random.key(0), jnp.arange(64), 64)

  steps, counts = np.unique(value(made, draw), return_counts=True)
  np.testing.assert_array_equal(steps, np.arange(1, 9) / 8)
  np.testing.assert_array_equal(counts, 8)


@pytest.mark.parametrize(
  ("schedule", "power"), [("linear", 1.0), ("cosine", 1.0), ("polynomial", 3.0)]
)
def test_the_weight_of_t_steps_has_two_forms(schedule, power):
  steps, e = 1000, 1e-4
  made = MD4(joint.Uniform(), schedule=schedule, power=power, timesteps=steps)
  t = np.arange(1, steps + 1) / steps  # float64 from here
  base = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: 1 - np.cos(np.pi / 2 * (1 - t)),
    "polynomial": lambda t: 1 - t**power,
  }[schedule]
  alpha_t = (1 - 2 * e) * base(t) + e
  alpha_s = (1 - 2 * e) * base(t - 1 / steps) + e
  gamma_t, gamma_s = (np.log(a / (1 - a)) for a in (alpha_t, alpha_s))
  ours = value(made, lambda bound: bound.weight_at(jnp.asarray(t, jnp.float32)))
  direct = steps * (alpha_s - alpha_t) / (1 - alpha_t)
  released = -steps * np.expm1(gamma_t - gamma_s) * alpha_s
  np.testing.assert_allclose(direct, released, rtol=1e-9)
  np.testing.assert_allclose(ours, direct, rtol=2e-4)  # float32: t - s is 1 / T


def test_many_steps_have_the_weight_of_continuous_time():
  t = jnp.linspace(0.1, 1.0, 10)
  steps, smooth = (MD4(joint.Uniform(), timesteps=n) for n in (10_000, 0))
  np.testing.assert_allclose(
    value(steps, lambda bound: bound.weight_at(t)),
    value(smooth, lambda bound: bound.weight_at(t)),
    rtol=2e-3,
  )


@pytest.mark.parametrize(
  ("vocab", "bits"), [(27, 4.754412), (50_257, 15.615475), (2, 0.9999)]
)
def test_a_network_of_zeros_starts_at_log_v_less_epsilon(vocab, bits):
  """Diffusion (1 - 2e) log2 V and reconstruction e log2 V, e = 1e-4."""
  made = MD4(joint.Uniform(vocab_size=vocab))
  nats = joint.exact_nats(made, np.zeros(1, np.int32), joint.midpoints(4))
  assert nats / np.log(2) == pytest.approx(bits, rel=1e-6)


def test_reconstruction_is_epsilon_log_v_for_each_token():
  made = MD4(joint.Uniform(vocab_size=50_257))
  rest = value(made, lambda bound: bound.rest(bound.read(make_batch(), train=False)))
  np.testing.assert_allclose(rest / 16, 0.0010825, rtol=1e-4)


@pytest.mark.parametrize("text", range(4))
def test_epsilon_moves_the_tight_bound_by_its_own_size(text):
  found = joint.exact_nats(MD4(joint.Exact()), joint.TEXTS[text], TIMES)
  assert found == pytest.approx(joint.NATS[text], abs=5e-4)
  found = joint.exact_nats(MDLM(joint.Exact()), joint.TEXTS[text], TIMES)
  assert found == pytest.approx(joint.NATS[text], abs=5e-3)


def test_md4_and_mdlm_are_one_without_epsilon():
  settings = dict(times="stratified", epsilon=0.0)
  batch = make_batch(vocab=2, length=2)
  ours = run(MD4(joint.Exact(), **settings), batch)
  theirs = run(MDLM(joint.Exact(), first_time=0.0, **settings), batch)
  assert ours["bits/token"] == theirs["bits/token"] == ours["loss"]
  assert theirs["loss"] == pytest.approx(ours["loss"] * np.log(2), rel=1e-6)


def test_mdlm_draws_times_from_its_first_on_and_weighs_by_one_over_t():
  made = MDLM(joint.Uniform())

  def draw(bound):
    t = bound.draw_times(jax.random.key(0), jnp.arange(512), 512)
    return jnp.stack([t, bound.weight_at(t), bound.mask_schedule().rate(t)])

  t, weight, rate = value(made, draw)
  assert 1e-3 <= t.min() < 3e-3
  assert 0.998 < t.max() < 1.0
  np.testing.assert_array_equal(weight, 1.0 / t)
  np.testing.assert_allclose(rate, 0.999 * t, rtol=1e-5)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"timesteps": -1}, "method.timesteps = -1 is below 0; 0 means continuous"),
    ({"timesteps": 8, "masking": "count"}, "not a time step; set method.timesteps = 0"),
    ({"epsilon": 0.6}, "0 <= low < high <= 1"),
  ],
)
def test_wrong_settings_of_md4_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    run(MD4(joint.Uniform(), **settings), make_batch())
