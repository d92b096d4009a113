"""Relative positions: equal to a table looked up pair by pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.relative_attention import (
  RelativeAttention,
  distance_sinusoids,
  shift_relative,
)

HEADS, WIDTH, LENGTH = 2, 8, 5
X = jax.random.normal(jax.random.key(0), (2, LENGTH, WIDTH))
VALID = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
MODEL = RelativeAttention(HEADS)


@pytest.fixture(scope="module")
def variables(variables_of):
  return variables_of(MODEL, X)


@jax.jit
def run(variables, x, visible):
  return MODEL.apply(variables, x, visible=visible)


def slow(params, x, visible):
  """One score at a time, in NumPy."""
  p = jax.tree.map(np.asarray, params)
  qkv = np.tensordot(x, p["qkv"]["kernel"], 1) + p["qkv"]["bias"]  # n 3 h k
  rates = 10_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
  mixed = np.zeros((len(x), HEADS, WIDTH // HEADS))
  for head in range(HEADS):
    query, key, value = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
    for i in range(len(x)):
      scores = np.full(len(x), -np.inf)
      for j in np.flatnonzero(visible[i]):
        angles = (i - j) * rates
        place = np.stack([np.sin(angles), np.cos(angles)], 1).ravel()
        r = place @ p["position"]["kernel"][:, head]
        content = (query[i] + p["content_bias"][head]) @ key[j]
        scores[j] = content + (query[i] + p["position_bias"][head]) @ r
      share = np.exp((scores - scores.max()) / np.sqrt(WIDTH // HEADS))
      mixed[i, head] = share / share.sum() @ value
  return np.tensordot(mixed, p["out"]["kernel"], 2) + p["out"]["bias"]


def test_the_shift_puts_the_score_of_each_distance_in_its_place():
  n = 4
  scores = np.random.default_rng(0).normal(size=(3, n, 2 * n - 1))
  i, j = np.mgrid[:n, :n]
  looked_up = scores[:, i, n - 1 - (i - j)]
  np.testing.assert_allclose(shift_relative(jnp.asarray(scores)), looked_up, rtol=1e-6)


def test_the_table_holds_sines_and_cosines_of_signed_distances():
  table = distance_sinusoids(6, 4)
  distance = np.arange(5, -6, -1)
  np.testing.assert_allclose(table[:, 0], np.sin(distance), atol=1e-6)
  np.testing.assert_allclose(table[:, 3], np.cos(distance * 0.01), atol=1e-6)


def test_scores_are_those_of_pairs_one_by_one(variables):
  visible = np.asarray(VALID)[:, None] & (
    np.abs(np.subtract.outer(*[range(5)] * 2)) < 3
  )
  visible = visible | np.eye(LENGTH, dtype=bool)
  y = run(variables, X, jnp.asarray(visible)[:, None])
  for row in range(2):
    expected = slow(variables["params"], np.asarray(X[row]), visible[row])
    np.testing.assert_allclose(y[row], expected, atol=1e-5)


def test_a_longer_row_of_padding_changes_nothing(variables):
  wide = jnp.pad(X, ((0, 0), (0, 4), (0, 0)), constant_values=7.0)
  seen = jnp.pad(VALID, ((0, 0), (0, 4)))
  y = run(variables, X, VALID[:, None, None])
  padded = run(variables, wide, seen[:, None, None])[:, :LENGTH]
  np.testing.assert_allclose(padded[VALID], y[VALID], atol=1e-5)


def test_without_a_mask_every_token_sees_every_other(variables):
  y = run(variables, X, jnp.ones((2, 1, 1, LENGTH), bool))
  np.testing.assert_allclose(MODEL.apply(variables, X), y, atol=1e-5)


def test_a_query_that_sees_nothing_gets_zeros_and_no_nan_flows_back(variables):
  visible = jnp.ones((2, 1, LENGTH, LENGTH), bool).at[:, :, 2].set(False)
  bias = variables["params"]["out"]["bias"]

  def loss(x):
    y = run(variables, x, visible)
    return jnp.square(y).sum(), y

  (_, y), gradient = jax.value_and_grad(loss, has_aux=True)(X)
  np.testing.assert_allclose(y[:, 2], jnp.broadcast_to(bias, (2, WIDTH)), atol=1e-6)
  assert jnp.isfinite(gradient).all()


def test_both_biases_of_every_head_are_learned(variables):
  def loss(params):
    y = run({"params": params}, X, VALID[:, None, None])
    return jnp.square(y[VALID] - 1.0).sum()

  gradient = jax.grad(loss)(variables["params"])
  for name in ("content_bias", "position_bias"):
    assert gradient[name].shape == (HEADS, WIDTH // HEADS)
    assert (gradient[name] != 0).all()


@pytest.mark.parametrize(
  ("heads", "width", "answer"),
  [(3, 8, "width = 8 is no multiple of heads = 3"), (3, 9, "width = 9 is odd")],
)
def test_widths_that_do_not_split_are_refused(heads, width, answer):
  with pytest.raises(ValueError, match=answer):
    RelativeAttention(heads).init(jax.random.key(0), jnp.zeros((1, 2, width)))
