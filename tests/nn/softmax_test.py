"""Sums by softmax: values, gradients, and what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.softmax import mix_by_softmax


def plain(scores, value):
  share = jax.nn.softmax(scores, axis=-1)
  return jnp.einsum("bhqm,bhme->bhqe", share, value)


@pytest.fixture
def arrays():
  shapes = (2, 3, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4)  # scores, value, weight of results
  keys = jax.random.split(jax.random.key(0), 3)
  scores, *rest = (
    jax.random.normal(*given) for given in zip(keys, shapes, strict=True)
  )
  return 3 * scores, *rest


def test_values_and_gradients_are_those_of_a_plain_softmax(arrays):
  scores, value, weight = arrays

  def found(mix):
    def loss(scores, value):
      y = mix(scores, value)
      return (y * weight).sum(), y

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(scores, value)

  ours, theirs = found(mix_by_softmax), found(plain)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)  # of sums of a few numbers near 1


def test_it_can_be_differentiated_forward_and_twice(arrays):
  scores, value, weight = arrays
  direction = (jnp.cos(scores), jnp.sin(value))

  def slope(mix):
    def total(*given):
      return (mix(*given) * weight).sum()

    def along(*given):
      return jax.jvp(total, given, direction)[1]

    return jax.jit(jax.value_and_grad(along, argnums=(0, 1)))(scores, value)

  ours, theirs = slope(mix_by_softmax), slope(plain)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_large_scores_neither_overflow_nor_vanish():
  scores = jnp.array([[[[1e4, 0.0, -1e4], [-1e4, -1e4, -2e4]]]])
  value = jnp.eye(3)[None, None]
  mixed = mix_by_softmax(scores, value)
  np.testing.assert_array_equal(mixed[0, 0], [[1, 0, 0], [0.5, 0.5, 0]])
  slope = jax.grad(lambda s: mix_by_softmax(s, value)[0, 0, 1, 0])(scores)
  np.testing.assert_allclose(slope[0, 0], [[0, 0, 0], [0.25, -0.25, 0]], atol=1e-7)


def test_the_dtype_is_that_of_the_values(arrays):
  scores, value, weight = arrays
  half = value.astype(jnp.bfloat16)
  mixed = mix_by_softmax(scores, half)
  assert mixed.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    mixed.astype(jnp.float32), plain(scores, value), atol=0.03
  )  # 2^-8 of values up to 3, times a few roundings
  slope = jax.grad(lambda v: (mix_by_softmax(scores, v) * weight).sum())(half)
  assert slope.dtype == jnp.bfloat16
