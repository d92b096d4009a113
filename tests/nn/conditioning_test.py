import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.conditioning import (
  Modulation,
  TimeEmbed,
  make_norm,
  modulate,
  time_features,
)

T = jnp.array([0.0, 0.25, 1.0])


def test_time_features_are_cosines_and_sines_of_a_thousand_t():
  features = np.asarray(time_features(T))
  assert features.shape == (3, 256)
  rates = 10_000.0 ** (-np.arange(128) / 128)
  angles = 1000 * np.asarray(T)[:, None] * rates
  # angles up to 1000 in float32 are good to about 1e-4
  np.testing.assert_allclose(features[:, :128], np.cos(angles), atol=3e-4)
  np.testing.assert_allclose(features[:, 128:], np.sin(angles), atol=3e-4)


def test_the_features_of_md4_reach_the_lowest_frequency():
  features = np.asarray(time_features(T, 4, has_last=True))
  rates = 10_000.0 ** (-np.arange(4) / 3)
  angles = 1000 * np.asarray(T)[:, None] * rates
  np.testing.assert_allclose(features[:, 4:], np.sin(angles), atol=3e-4)


def test_an_unknown_style_of_time_is_named(variables_of):
  with pytest.raises(ValueError, match="did you mean 'md4'"):
    variables_of(TimeEmbed(16, "md5"), T)


def test_times_get_conditions_of_their_own(variables_of):
  module = TimeEmbed(16)
  cond = module.apply(variables_of(module, T), T)
  assert cond.shape == (3, 16) and cond.dtype == jnp.float32
  assert float(jnp.abs(cond[0] - cond[1]).max()) > 1e-3


def test_a_modulation_starts_at_zero_and_modulates_nothing():
  cond, x = jnp.ones((2, 5)), jax.random.normal(jax.random.key(0), (2, 3, 4))
  module = Modulation(2, 4)
  parts, _ = module.init_with_output(jax.random.key(0), cond)
  assert parts.shape == (2, 2, 1, 4) and (parts == 0).all()
  np.testing.assert_array_equal(modulate(x, *parts), x)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_modulated_norms_leave_scale_and_shift_to_the_condition(kind):
  x = jnp.ones((1, 2, 4))
  made = {"epsilon": 1e-6, "use_bias": True, "name": "norm"}
  plain = make_norm(kind, is_modulated=False, **made)
  modulated = make_norm(kind, is_modulated=True, **made)
  assert jax.eval_shape(plain.init, jax.random.key(0), x)
  assert not jax.eval_shape(modulated.init, jax.random.key(0), x)


def test_an_unknown_norm_is_named():
  with pytest.raises(ValueError, match="did you mean 'layer'"):
    make_norm("layers", epsilon=1e-6, is_modulated=False, use_bias=True, name="norm")
