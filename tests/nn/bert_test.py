"""BERT's encoder: equal to the published one, deaf to padding, honest about length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import bert as original

from mdm.training import build


@functools.cache
def network(**changes):
  spec = original.network(**changes)
  return build.build_network(spec, "model.network", jnp.dtype("float32"))


@functools.cache
def encoder(**changes):
  return jax.jit(functools.partial(network(**changes).apply, train=False))


def params(**changes):
  return jax.tree.map(jnp.asarray, original.params(**changes))


def variables(**changes):
  return {"params": params(**changes)}


@pytest.mark.parametrize("scan", [False, True])
def test_states_of_real_tokens_are_the_originals(scan):
  stored = original.numbers()
  found = encoder(scan=scan)(
    variables(scan=scan),
    stored["tokens"],
    valid=stored["valid"],
    segment=stored["segment"],
  )
  real = stored["valid"]
  np.testing.assert_allclose(found[real], stored["states"][real], atol=1e-5, rtol=1e-4)


def test_padding_changes_no_real_token_at_all():
  stored = original.numbers()
  tokens, valid = stored["tokens"], stored["valid"]
  found = [
    encoder()(variables(), np.where(valid, tokens, other), valid=valid)
    for other in (0, 17)
  ]
  np.testing.assert_array_equal(found[0][valid], found[1][valid])
  short = encoder()(variables(), tokens[1:2, :7])
  np.testing.assert_allclose(found[0][1, :7], short[0], atol=1e-5)


def test_no_gradient_reaches_what_is_padding():
  stored = original.numbers()
  valid = jnp.asarray(stored["valid"])
  tokens = jnp.where(valid, stored["tokens"] % 39, 39)

  def total(table):
    given = params() | {"word_embedding": table}
    found = network().apply({"params": given}, tokens, valid=valid)
    return jnp.where(valid[..., None], found, 0.0).sum()

  table = params()["word_embedding"]
  slope = jax.jit(jax.grad(total))(table)
  assert (slope[39] == 0).all() and (slope[tokens[0, 0]] != 0).any()


def test_without_kinds_all_tokens_are_of_the_first():
  tokens = original.numbers()["tokens"]
  plain = encoder()(variables(), tokens)
  first = encoder()(variables(), tokens, segment=np.zeros_like(tokens))
  np.testing.assert_array_equal(plain, first)


def test_dropout_is_drawn_in_training_alone():
  tokens = jnp.asarray(original.numbers()["tokens"])
  apply = functools.partial(network().apply, variables(), tokens, train=True)
  found = [apply(rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
  np.testing.assert_array_equal(found[0], found[1])
  assert (found[0] != found[2]).any()


def test_rows_longer_than_the_table_of_places_are_refused():
  with pytest.raises(ValueError, match=r"rows of 13 tokens are longer .* length = 12"):
    encoder()(variables(), np.zeros((1, 13), int))
