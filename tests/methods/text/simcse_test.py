"""SimCSE's loss by brute force, its pooling, and what fills a batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.methods.text.simcse import SimCSE, pool_states, unit

RNG = np.random.default_rng(0)
STATES = jnp.asarray(RNG.normal(size=(4, 5, 6)), jnp.float32)
VALID = jnp.arange(5) < jnp.array([5, 3, 1, 0])[:, None]


class Table(nn.Module):
  """States are rows of a table, with noise in training."""

  vocab_size: int = 7

  @nn.compact
  def __call__(self, tokens, *, valid=None, train=False):
    table = self.param("table", nn.initializers.normal(1.0), (self.vocab_size, 6))
    x = table[tokens]
    return nn.Dropout(0.3, deterministic=not train)(x)


def batch(weight=None):
  tokens = np.random.default_rng(1).integers(0, 7, (4, 5))
  valid = np.arange(5) < np.array([5, 3, 1, 4])[:, None]
  found = {"tokens": tokens, "valid": valid, "index": np.arange(4)}
  return found if weight is None else found | {"weight": np.array(weight, np.float32)}


def losses(method, given, train=True):
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
  variables = method.init(rngs, given, train=False)
  rngs = {"dropout": jax.random.key(2)}
  return variables, method.apply(variables, given, train=train, rngs=rngs)


def test_means_leave_padding_out():
  found = pool_states(STATES, VALID, "mean")
  for row, count in enumerate((5, 3, 1)):
    np.testing.assert_allclose(found[row], STATES[row, :count].mean(0), atol=1e-6)
  assert (found[3] == 0).all()


def test_the_first_token_or_the_greatest_values_are_pooled():
  np.testing.assert_array_equal(pool_states(STATES, VALID, "cls")[:3], STATES[:3, 0])
  found = pool_states(STATES, VALID, "max")
  np.testing.assert_array_equal(found[1], STATES[1, :3].max(0))
  assert (found[3] == 0).all() and (pool_states(STATES, VALID, "cls")[3] == 0).all()


def test_unit_vectors_have_length_one_and_zeros_a_finite_slope():
  np.testing.assert_allclose(jnp.linalg.norm(unit(STATES[0]), axis=1), 1.0, atol=1e-6)
  slope = jax.grad(lambda x: unit(x).sum())(jnp.zeros((2, 3)))
  assert jnp.isfinite(slope).all()


def test_without_dropout_the_loss_is_that_of_cosines_by_brute_force():
  method, given = SimCSE(network=Table(), temperature=0.2), batch()
  variables, found = losses(method, given, train=False)
  vectors = np.asarray(method.apply(variables, given, method="encode"), np.float64)
  logits = vectors @ vectors.T / 0.2
  nats = np.log(np.exp(logits).sum(1)) - np.diag(logits)
  np.testing.assert_allclose(found["loss"].value(), nats.mean(), rtol=1e-5)
  assert found["accuracy"].value() == 1.0


def test_dropout_makes_the_two_vectors_of_a_sentence_differ():
  method, given = SimCSE(network=Table(), temperature=0.2), batch()
  _, drawn = losses(method, given, train=True)
  _, plain = losses(method, given, train=False)
  assert drawn["loss"].value() > plain["loss"].value()


def test_rows_that_fill_a_batch_are_no_negatives_and_cost_nothing():
  method = SimCSE(network=Table(), temperature=0.2)
  variables, found = losses(method, batch([1, 1, 0, 0]), train=False)
  alone = {k: v[:2] for k, v in batch().items()}
  other = method.apply(variables, alone, train=False)
  np.testing.assert_allclose(found["loss"].value(), other["loss"].value(), rtol=1e-6)
  assert found["loss"].weight == 2


def test_gradients_are_finite_where_rows_fill_a_batch():
  method, given = SimCSE(network=Table(), temperature=0.2), batch([1, 1, 0, 0])
  variables, _ = losses(method, given)

  def loss(params):
    rngs = {"dropout": jax.random.key(2)}
    found = method.apply({"params": params}, given, train=True, rngs=rngs)
    return found["loss"].value()

  slopes = jax.tree.leaves(jax.grad(loss)(variables["params"]))
  assert all(jnp.isfinite(x).all() for x in slopes)


def test_vectors_keep_their_length_if_asked():
  method, given = SimCSE(network=Table(), normalises=False), batch()
  variables, _ = losses(method, given)
  found = method.apply(variables, given, method="encode")
  assert abs(float(jnp.linalg.norm(found[0])) - 1) > 0.1


@pytest.mark.parametrize(
  ("settings", "answer"),
  [({"pool": "sum"}, "method.pool"), ({"temperature": 0.0}, "must be above 0")],
)
def test_wrong_settings_are_refused(settings, answer):
  with pytest.raises(ValueError, match=answer):
    losses(SimCSE(network=Table(), **settings), batch())
