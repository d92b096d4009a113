"""LSTM: against NumPy, a step at a time, and what a prediction may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.lstm import Lstm, Prediction

VOCAB, WIDTH = 7, 6


@pytest.fixture(scope="module")
def network(variables_of):
  module = Prediction(vocab_size=VOCAB, width=WIDTH, embed=5, depth=2, dropout=0.5)
  tokens = jnp.array([[1, 2, 3], [4, 4, 0]])
  return module, variables_of(module, tokens, train=False), tokens


def by_hand(params, x):
  """One layer over one row."""
  h = c = np.zeros(WIDTH)
  outputs = []
  for row in x:
    gates = row @ params["kernel"] + h @ params["recurrent"] + params["bias"]
    i, f, g, o = np.split(np.asarray(gates), 4)
    c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
    h = np.tanh(c) / (1 + np.exp(-o))
    outputs.append(h)
  return np.stack(outputs)


def test_outputs_are_those_of_the_equations(network):
  module, variables, tokens = network
  found = module.apply(variables, tokens, train=False)
  params = jax.tree.map(np.asarray, variables["params"])
  for row, said in zip(found, np.asarray(tokens), strict=True):
    x = params["embedding"][[VOCAB, *said]]  # blank begins
    for layer in ("layers_0", "layers_1"):
      x = by_hand(params[layer], x)
    np.testing.assert_allclose(row, x, atol=1e-5)


def test_steps_give_what_the_whole_gives(network):
  module, variables, tokens = network
  whole = module.apply(variables, tokens, train=False)
  state = module.start(2)
  for u in range(4):
    token = jnp.full(2, VOCAB) if u == 0 else tokens[:, u - 1]
    outputs, state = module.apply(variables, token, state, method="step")
    np.testing.assert_allclose(outputs, whole[:, u], atol=1e-6)


def test_an_output_depends_on_no_later_token(network):
  module, variables, tokens = network
  before = module.apply(variables, tokens, train=False)
  after = module.apply(variables, tokens.at[:, 1].set(6), train=False)
  np.testing.assert_array_equal(after[:, :2], before[:, :2])
  assert (jnp.abs(after[:, 2:] - before[:, 2:]).max(-1) > 1e-4).all()


def test_dropout_acts_in_training_alone(network):
  module, variables, tokens = network
  still = module.apply(variables, tokens, train=False)
  rngs = {"dropout": jax.random.key(0)}
  moved = module.apply(variables, tokens, train=True, rngs=rngs)
  assert (jnp.abs(moved - still).max(-1) > 1e-3).any()


def test_a_fresh_layer_forgets_little():
  layer, zeros = Lstm(width=WIDTH), jnp.zeros((1, WIDTH))
  variables = layer.init(jax.random.key(0), jnp.zeros((1, 1, 3)), (zeros, zeros))
  bias = jax.tree.leaves(variables["params"]["bias"])[0]
  np.testing.assert_array_equal(bias, np.repeat([0.0, 1.0, 0.0, 0.0], WIDTH))
