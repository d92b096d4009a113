"""The joint network: against the scores of all classes, in groups, on devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mdm.nn.joint import Joint, joint_log_probs

B, F, N, D, V = 2, 5, 3, 8, 16


@pytest.fixture(scope="module")
def inputs():
  keys = jax.random.split(jax.random.key(0), 5)
  return (
    jax.random.normal(keys[0], (B, F, D)),
    jax.random.normal(keys[1], (B, N + 1, D)),
    jax.random.normal(keys[2], (D, V)) * 0.5,
    jax.random.normal(keys[3], (V,)) * 0.5,
    jax.random.randint(keys[4], (B, N), 0, V),
  )


def dense(encoded, predicted, kernel, bias, tokens, blank):
  """All scores of all cells, then the two that count."""
  x = jnp.tanh(encoded[:, :, None] + predicted[:, None])
  scores = jax.nn.log_softmax(x @ kernel + bias)  # b f u v
  following = jnp.take_along_axis(scores[:, :, :-1], tokens[:, None, :, None], -1)
  return scores[..., blank], following[..., 0]


def weigh(make, *inputs):
  """Some sum of both results, and its slopes."""

  def cost(floats):
    blank, token = make(*floats, inputs[-1])
    places = jnp.arange(blank.size).reshape(blank.shape)
    return (blank * jnp.sin(places)).sum() + (token * places[:, :, 1:] ** 0.5).sum()

  return jax.jit(jax.value_and_grad(cost))(inputs[:-1])


def test_both_log_probabilities_are_those_of_the_softmax_over_all_classes(inputs):
  wanted = dense(*inputs, 3)
  found = joint_log_probs(*inputs, blank=3)
  for a, b in zip(found, wanted, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 99])
def test_groups_of_frames_change_no_value_and_no_slope(inputs, chunk):
  value, slopes = weigh(lambda *x: joint_log_probs(*x, chunk=chunk), *inputs)
  wanted, due = weigh(lambda *x: dense(*x, 0), *inputs)
  assert float(value) == pytest.approx(float(wanted), rel=1e-5)
  for a, b in zip(slopes, due, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-4)


def test_groups_of_frames_hold_fewer_scores_at_once():
  shapes = ((2, 64, D), (2, 9, D), (D, 512), (512,))
  floats = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
  tokens = jnp.zeros((2, 8), jnp.int32)

  def peak(chunk):
    def cost(floats):
      return sum(x.sum() for x in joint_log_probs(*floats, tokens, chunk=chunk))

    compiled = jax.jit(jax.grad(cost)).lower(floats).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert peak(4) < peak(0) / 4


def test_classes_may_lie_on_eight_devices(inputs):
  mesh = jax.make_mesh((8,), ("tensor",), axis_types=(jax.sharding.AxisType.Auto,))
  encoded, predicted, kernel, bias, tokens = inputs
  kernel = jax.device_put(kernel, NamedSharding(mesh, P(None, "tensor")))
  bias = jax.device_put(bias, NamedSharding(mesh, P("tensor")))
  value, slopes = weigh(joint_log_probs, encoded, predicted, kernel, bias, tokens)
  wanted, due = weigh(joint_log_probs, *inputs)
  assert float(value) == pytest.approx(float(wanted), rel=1e-5)
  for a, b in zip(slopes, due, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-4)


def test_single_cells_are_scored_as_in_training(inputs, variables_of):
  encoded, predicted, *_, tokens = inputs
  joint = Joint(vocab_size=V, width=6, chunk=2)
  variables = variables_of(joint, encoded, predicted, tokens)
  blank, token = joint.apply(variables, encoded, predicted, tokens)
  for t, u in ((0, 0), (4, 2), (2, 1)):
    cell = joint.apply(variables, encoded[:, t], predicted[:, u], method="score")
    np.testing.assert_allclose(jnp.exp(cell).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(cell[:, V], blank[:, t, u], atol=1e-5)
    np.testing.assert_allclose(
      cell[jnp.arange(B), tokens[:, u]], token[:, t, u], atol=1e-5
    )
