import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.nn.layers import (
  GATES,
  GatedMlp,
  LayerNorm,
  Linear,
  Mlp,
  RMSNorm,
  activation,
  contract_axes,
  conv,
  drop_path,
  drop_rates,
)


def test_drop_path_at_rate_zero_is_the_identity():
  branch = jax.random.normal(jax.random.key(0), (5, 3, 2))
  assert (drop_path(jax.random.key(1), branch, 0.0) == branch).all()


def test_drop_path_drops_whole_examples_and_keeps_the_expectation():
  branch = jnp.ones((20_000, 2, 3))
  y = np.asarray(drop_path(jax.random.key(0), branch, 0.25))
  assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
  assert (y == y[:, :1, :1]).all()
  # standard error of the mean is sqrt(0.25 / 0.75 / 20000) = 0.004
  np.testing.assert_allclose(y.mean(), 1.0, atol=0.02)


def test_drop_path_takes_a_traced_rate_and_keeps_the_dtype():
  branch = jnp.ones((4, 2), jnp.bfloat16)
  y = jax.jit(drop_path)(jax.random.key(0), branch, jnp.float32(0.5))
  assert y.dtype == jnp.bfloat16


def test_drop_rates_grow_linearly_from_zero_to_the_last():
  np.testing.assert_allclose(drop_rates(0.1, 5), [0, 0.025, 0.05, 0.075, 0.1])
  assert drop_rates(0.1, 1) == [0.0]


def test_linear_contracts_several_axes_like_an_einsum():
  x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
  layer = Linear((6, 7), ("heads", "kv", None, "embed"), contract=2)
  params = meta.unbox(layer.init(jax.random.key(1), x))
  ours = layer.apply(params, x)
  theirs = jnp.einsum("abhk,hkcd->abcd", x, params["params"]["kernel"])
  np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_linear_starts_with_the_spread_of_its_flattened_matrix():
  x = jnp.zeros((1, 64))
  kernel = meta.unbox(
    Linear((3, 4, 16), ("embed", None, "heads", "kv")).init(jax.random.key(0), x)
  )["params"]["kernel"]
  # Xavier: variance 2 / (64 + 192); 12,288 draws know it to about 1%
  np.testing.assert_allclose(kernel.var(), 2 / (64 + 192), rtol=0.05)


def test_every_axis_of_a_linear_map_carries_its_name():
  boxed = Linear((2, 3), ("embed", "heads", "kv")).init(
    jax.random.key(0), jnp.zeros((1, 4))
  )["params"]
  assert boxed["kernel"].names == ("embed", "heads", "kv")
  assert boxed["bias"].names == ("heads", "kv")


def test_layer_norm_survives_a_large_mean_and_returns_the_input_dtype():
  x = 1000.0 + jnp.arange(8.0)
  layer = LayerNorm()
  params = layer.init(jax.random.key(0), x)
  y = layer.apply(params, x)
  expected = (np.arange(8.0) - 3.5) / np.std(np.arange(8.0))
  np.testing.assert_allclose(y, expected, atol=1e-5)
  assert layer.apply(params, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_mlp_drops_only_in_training():
  x = jnp.ones((2, 8))
  mlp = Mlp(16, dropout=0.5)
  params = mlp.init(jax.random.key(0), x, train=False)
  still = mlp.apply(params, x, train=False)
  moved = mlp.apply(params, x, train=True, rngs={"dropout": jax.random.key(1)})
  assert (still == mlp.apply(params, x, train=False)).all()
  assert (still != moved).any()


def test_grouped_convolution_keeps_groups_apart():
  x = jnp.zeros((1, 4, 4, 4)).at[..., :2].set(1.0)
  layer = conv(4, groups=2)
  y = layer.apply(layer.init(jax.random.key(0), x), x)
  assert (y[..., :2] != 0).any()
  assert (y[..., 2:] == 0).all()


def test_unknown_activation_lists_the_known_ones():
  with pytest.raises(ValueError, match="gelu, gelu_tanh, relu, sigmoid, silu"):
    activation("gleu")


def test_rms_norm_is_the_formula_in_float32():
  x = 30.0 * jax.random.normal(jax.random.key(0), (3, 8))
  scale = jnp.linspace(0.5, 2.0, 8)
  ours = RMSNorm(1e-5).apply({"params": {"scale": scale}}, x)
  plain = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale
  np.testing.assert_allclose(ours, plain, rtol=1e-5)
  assert RMSNorm(use_scale=False).apply({}, x.astype(jnp.bfloat16)).dtype == "bfloat16"


def test_norms_without_scale_and_shift_have_no_parameters():
  x = jax.random.normal(jax.random.key(0), (3, 8))
  for norm in (LayerNorm(use_scale=False, use_bias=False), RMSNorm(use_scale=False)):
    assert not jax.eval_shape(norm.init, jax.random.key(0), x)
  y = LayerNorm(use_scale=False, use_bias=False).apply({}, x)
  np.testing.assert_allclose(y.std(-1), 1.0, rtol=1e-3)


@pytest.mark.parametrize("kind", GATES)
def test_gated_mlp_multiplies_a_gate_and_a_map(variables_of, kind):
  x = jax.random.normal(jax.random.key(0), (3, 4))
  mlp = GatedMlp(6, kind)
  params = variables_of(mlp, x)["params"]
  gate, up, down = (params[name]["kernel"] for name in ("gate", "up", "down"))
  plain = (activation(GATES[kind])(x @ gate) * (x @ up)) @ down
  np.testing.assert_allclose(mlp.apply({"params": params}, x), plain, rtol=1e-5)


def test_a_part_of_the_first_feature_axis_is_that_part_of_the_whole():
  layer = Linear((3, 2), (None, None, None), contract=2)
  x = jax.random.normal(jax.random.key(0), (5, 2, 4))
  variables = layer.init(jax.random.key(1), x)
  variables["params"]["bias"] = variables["params"]["bias"].replace_boxed(
    jax.random.normal(jax.random.key(2), (3, 2))
  )
  whole = layer.apply(variables, x)
  np.testing.assert_allclose(
    layer.apply(variables, x, slice(1, 3)), whole[:, 1:3], atol=1e-6
  )


@pytest.mark.parametrize("devices", [1, 8])
def test_a_contraction_and_its_gradients_are_the_same_on_one_device_and_on_many(
  devices,
):
  x = jax.random.normal(jax.random.key(0), (8, 3, 4, 5))
  kernel = jax.random.normal(jax.random.key(1), (4, 5, 2, 6))
  weight = jax.random.normal(jax.random.key(2), (8, 3, 2, 6))

  def found(contract):
    def loss(x, kernel):
      y = contract(x, kernel, 2)
      return (y * weight).sum(), y

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(x, kernel)

  with jax.set_mesh(jax.make_mesh((devices,), ("data",))):
    text = jax.jit(lambda: contract_axes(x, kernel, 2)).lower().as_text()
    (dx, dkernel), y = found(contract_axes)
  assert ("optimization_barrier" in text) == (devices == 1)
  (dx_, dkernel_), y_ = found(
    lambda x, kernel, _: jnp.einsum("abhk,hkcd->abcd", x, kernel)
  )
  for ours, theirs in ((y, y_), (dx, dx_), (dkernel, dkernel_)):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
