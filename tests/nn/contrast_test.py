"""The contrastive loss: closed forms, dropped negatives, and its gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.contrast import contrast, same_codes

B, M, K, D = 2, 6, 5, 4
CONTEXT, TARGET = jax.random.normal(jax.random.key(0), (2, B, M, D))
OWN = jnp.arange(M)[:, None]
INDEX = jax.random.randint(jax.random.key(1), (B, M, K), 0, M - 1)
INDEX = INDEX + (INDEX >= OWN)
NONE = jnp.zeros((B, M, M), bool)


def slow(context, target, index, same, temperature=0.1):
  """One anchor at a time, in NumPy."""
  nats = np.zeros((B, M))
  for b in range(B):
    for i in range(M):

      def cosine(j, b=b, i=i):
        c, q = np.asarray(context[b, i]), np.asarray(target[b, j])
        return float(c @ q / np.linalg.norm(c) / np.linalg.norm(q)) / temperature

      wrong = [cosine(j) for j in np.asarray(index[b, i]) if not same[b, i, j]]
      logits = np.array([cosine(i), *wrong])
      nats[b, i] = np.log(np.exp(logits - logits.max()).sum()) + logits.max()
      nats[b, i] -= logits[0]
  return nats


def test_the_loss_is_that_of_anchors_one_by_one():
  same = jnp.asarray(np.random.default_rng(0).random((B, M, M)) < 0.3)
  found = jax.jit(contrast)(CONTEXT, TARGET, INDEX, same)
  np.testing.assert_allclose(
    found.nats, slow(CONTEXT, TARGET, INDEX, same), rtol=1e-4, atol=1e-5
  )
  assert (found.others == (~jnp.take_along_axis(same, INDEX, 2)).sum(-1)).all()


def test_equal_similarities_cost_as_much_as_guessing():
  target = jnp.broadcast_to(TARGET[:, :1], TARGET.shape)
  found = contrast(CONTEXT, target, INDEX, NONE)
  np.testing.assert_allclose(found.nats, math.log(K + 1), rtol=1e-5)
  assert not found.correct.any()
  index = jnp.broadcast_to(INDEX[:, :, :1], (B, M, 100))
  found = contrast(CONTEXT, target, index, NONE)
  np.testing.assert_allclose(found.nats, 4.61512, rtol=1e-5)


def test_negatives_equal_to_the_target_are_dropped_and_counted():
  found = contrast(CONTEXT, TARGET, INDEX, ~NONE)
  assert (found.nats == 0).all() and (found.others == 0).all()  # collapse
  gradient = jax.grad(lambda c: contrast(c, TARGET, INDEX, ~NONE).nats.sum())(CONTEXT)
  assert (gradient == 0).all()


def test_codes_are_the_same_if_they_are_in_every_group():
  ids = jnp.array([[[0, 1], [0, 2], [0, 1]]])
  expected = [[[True, False, True], [False, True, False], [True, False, True]]]
  assert same_codes(ids).tolist() == expected


def test_lengths_of_vectors_do_not_matter():
  found = contrast(3.0 * CONTEXT, 0.2 * TARGET, INDEX, NONE)
  plain = contrast(CONTEXT, TARGET, INDEX, NONE)
  np.testing.assert_allclose(found.nats, plain.nats, rtol=1e-4, atol=1e-5)


def test_the_target_is_right_where_it_is_nearest():
  found = contrast(TARGET, TARGET, INDEX, NONE)
  assert found.correct.all()
  assert not contrast(-TARGET, TARGET, INDEX, NONE).correct.any()


@pytest.mark.parametrize("zeros", ["context", "target"])
def test_vectors_of_zeros_in_unused_places_have_finite_gradients(zeros):
  context = CONTEXT.at[0, -1].set(0.0) if zeros == "context" else CONTEXT
  target = TARGET.at[0, -1].set(0.0) if zeros == "target" else TARGET

  def loss(context, target):
    return contrast(context, target, INDEX, NONE).nats[:, :-1].sum()

  for gradient in jax.grad(loss, (0, 1))(context, target):
    assert jnp.isfinite(gradient).all()
