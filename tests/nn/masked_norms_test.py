"""Norms over valid frames: equal to plain norms of those frames put together."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.masked_norms import MaskedBatchNorm, MaskedGroupNorm, masked_moments

LENGTHS, WIDTH = np.array([5, 2, 7, 1]), 6
VALID = jnp.asarray(np.arange(7) < LENGTHS[:, None])
X = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, (4, 7, WIDTH)), jnp.float32)
NAN = jnp.where(VALID[..., None], X, jnp.nan)


@pytest.fixture(scope="module")
def batch_variables(variables_of):
  return variables_of(MaskedBatchNorm(), X, VALID, train=True)


@pytest.fixture(scope="module")
def group_variables(variables_of):
  return variables_of(MaskedGroupNorm(3), X, VALID)


def batch_norm(variables, x, valid, *, train=True):
  return MaskedBatchNorm().apply(
    variables, x, valid, train=train, mutable=["batch_stats"]
  )


def test_batch_norm_equals_the_plain_one_on_the_valid_frames(batch_variables):
  y, ours = batch_norm(batch_variables, NAN, VALID)
  plain = nn.BatchNorm(
    use_running_average=False, momentum=0.9, epsilon=1e-5, use_fast_variance=False
  )
  expected, theirs = plain.apply(batch_variables, X[VALID], mutable=["batch_stats"])
  np.testing.assert_allclose(y[VALID], expected, atol=1e-5)
  assert (y[~VALID] == 0).all()
  for name in ("mean", "var"):
    found, wanted = (s["batch_stats"][name] for s in (ours, theirs))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_at_evaluation_each_frame_is_normalised_by_the_running_moments(batch_variables):
  y, after = batch_norm(batch_variables, NAN, VALID, train=False)
  stats, params = batch_variables["batch_stats"], batch_variables["params"]
  expected = (X - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5)
  expected = expected * params["scale"] + params["bias"]
  np.testing.assert_allclose(y[VALID], expected[VALID], atol=1e-5)
  assert (after["batch_stats"]["mean"] == stats["mean"]).all()


def test_a_batch_of_padding_gives_zeros_and_leaves_the_running_moments(batch_variables):
  y, after = batch_norm(batch_variables, NAN, jnp.zeros_like(VALID))
  assert (y == 0).all()
  before = batch_variables["batch_stats"]
  assert all((after["batch_stats"][k] == before[k]).all() for k in before)


def test_padding_that_lies_unevenly_on_devices_changes_nothing(batch_variables):
  mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  rows = jax.NamedSharding(mesh, jax.P("data"))
  x, valid = (jax.device_put(part, rows) for part in (NAN, VALID))
  y, after = jax.jit(batch_norm)(batch_variables, x, valid)
  alone, wanted = batch_norm(batch_variables, X, VALID)
  np.testing.assert_allclose(y, alone, atol=1e-5)
  for name in ("mean", "var"):
    found, expected = (s["batch_stats"][name] for s in (after, wanted))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_group_norm_equals_the_plain_one_on_each_row_cut_to_its_length(group_variables):
  y = MaskedGroupNorm(3).apply(group_variables, NAN, VALID)
  plain = nn.GroupNorm(3, epsilon=1e-5, use_fast_variance=False)
  for row, length in enumerate(LENGTHS):
    cut = plain.apply(group_variables, X[row : row + 1, :length])
    np.testing.assert_allclose(y[row, :length], cut[0], atol=1e-5)
    assert (y[row, length:] == 0).all()


def test_a_row_of_padding_in_a_group_norm_is_zero(group_variables):
  y = MaskedGroupNorm(3).apply(group_variables, NAN, VALID.at[1].set(False))
  assert (y[1] == 0).all() and (y[0, 0] != 0).any()


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_padding_gets_no_gradient_and_parameters_a_finite_one(
  kind, batch_variables, group_variables
):
  def loss(params, x):
    if kind == "batch":
      y, _ = batch_norm(batch_variables | {"params": params}, x, VALID)
    else:
      y = MaskedGroupNorm(3).apply({"params": params}, x, VALID)
    return jnp.square(y - 1.0).sum()

  variables = batch_variables if kind == "batch" else group_variables
  gradient = jax.jit(jax.grad(loss, (0, 1)))
  to_params, to_x = gradient(variables["params"], NAN)
  expected, _ = gradient(variables["params"], X)
  assert (to_x[~VALID] == 0).all() and (to_x[VALID] != 0).any(-1).all()
  assert all((to_params[k] == expected[k]).all() for k in expected)


def test_a_large_mean_does_not_swallow_the_variance():
  mean, variance, count = masked_moments(X + 1e4, VALID[..., None], (0, 1))
  valid = np.asarray(X[VALID], np.float64)
  np.testing.assert_allclose(mean.ravel(), valid.mean(0) + 1e4, rtol=1e-6)
  # X itself lies on a grid of 1e-3 once 1e4 is added
  np.testing.assert_allclose(variance.ravel(), valid.var(0), rtol=1e-3)
  assert (count == LENGTHS.sum()).all()


def test_groups_that_do_not_divide_the_width_are_refused():
  with pytest.raises(ValueError, match="groups = 4 do not divide width = 6"):
    MaskedGroupNorm(4).init(jax.random.key(0), X, VALID)
