"""Quantisers, losses, negatives and masks beside those of fairseq and fairseq2.

Tolerances: 1e-5 on vectors and losses, float32 in another order; the originals add 1e-7
inside of a logarithm, which we do not. What is drawn is compared as frequencies, with
bounds that a wrong law would break and four standard errors do not.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import wav2vec2 as original

from mdm.masks.keys import example_keys
from mdm.masks.negatives import draw_negatives
from mdm.masks.spans import mask_spans
from mdm.nn.contrast import contrast, same_codes
from mdm.nn.quantizer import (
  GumbelQuantizer,
  code_perplexity,
  diversity_loss,
  gumbel_temperature,
)

STORED = original.numbers()
Z, TO = (jnp.asarray(STORED[f"input/{x}"]) for x in ("z", "to"))
ONES = jnp.ones(Z.shape[:2])
MODEL = GumbelQuantizer(original.GROUPS, original.ENTRIES, original.WIDTH)
TEMPERATURE = gumbel_temperature(original.UPDATES, **original.TEMPERATURE)


def run(params, z, *, train):
  return MODEL.apply(
    {"params": params}, z, TEMPERATURE, train=train, rngs={"gumbel": jax.random.key(0)}
  )


@pytest.fixture(scope="module")
def trained():
  """Result of a training pass with the given noise, and gradients."""

  def loss(params, z):
    found = run(params, z, train=True)
    diversity = diversity_loss(found.soft, ONES)
    return (found.vectors * TO).sum() + diversity, (found, diversity)

  with pytest.MonkeyPatch.context() as patch:
    noise = jnp.asarray(STORED["input/gumbel"])
    patch.setattr(jax.random, "gumbel", lambda _, shape: noise.reshape(shape))
    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    return gradient(original.params(), Z)


def test_temperatures_are_those_of_both():
  for name in ("quantiser", "fairseq2"):
    np.testing.assert_allclose(TEMPERATURE, STORED[f"{name}/temperature"], rtol=1e-6)


@pytest.mark.parametrize("name", ["quantiser", "fairseq2"])
def test_vectors_and_ids_of_a_training_pass_are_those_of_both(trained, name):
  _, (found, _) = trained
  np.testing.assert_allclose(found.vectors, STORED[f"{name}/vectors"], atol=1e-5)
  assert (found.ids == STORED[f"{name}/ids"]).all()


def test_the_diversity_loss_is_the_originals(trained):
  _, (_, diversity) = trained
  np.testing.assert_allclose(diversity, STORED["quantiser/diversity"], atol=1e-5)


def test_gradients_of_vectors_and_diversity_are_the_originals(trained):
  (to_params, to_z), _ = trained
  np.testing.assert_allclose(to_z, STORED["grad/z"], atol=1e-4)
  expected = original.params("grad/")
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-4),
    dict(to_params),
    expected,
  )


def test_at_evaluation_vectors_ids_and_codes_in_use_are_the_originals():
  found = jax.jit(lambda p, z: run(p, z, train=False))(original.params(), Z)
  np.testing.assert_allclose(found.vectors, STORED["evaluated/vectors"], atol=1e-6)
  assert (found.ids == STORED["evaluated/ids"]).all()
  used = code_perplexity(found.ids, ONES, original.ENTRIES).sum()
  np.testing.assert_allclose(used, STORED["quantiser/code_perplexity"], rtol=1e-5)


def test_costs_of_anchors_and_their_gradients_are_the_originals():
  stored = {
    k.removeprefix("contrast/"): jnp.asarray(v)
    for k, v in STORED.items()
    if k.startswith("contrast/")
  }
  same = same_codes(stored["codes"][..., None])
  assert (stored["others"] < stored["index"].shape[-1]).any()  # some are dropped

  def loss(context, target):
    found = contrast(context, target, stored["index"], same)
    return found.nats.sum(), found

  arguments = stored["context"], stored["target"]
  gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
  (to_context, to_target), found = gradient(*arguments)
  np.testing.assert_allclose(found.nats, stored["nats"], rtol=1e-4, atol=1e-5)
  assert (found.others == stored["others"]).all()
  np.testing.assert_allclose(to_context, stored["grad_context"], atol=1e-4)
  np.testing.assert_allclose(to_target, stored["grad_target"], atol=1e-4)


def test_negatives_are_drawn_as_often_as_the_originals():
  theirs = STORED["negatives/counts"]
  m = len(theirs)
  keys = example_keys(jax.random.key(0), jnp.arange(50))
  found = draw_negatives(keys, jnp.ones((50, m), bool), 100, budget=1.0)
  anchors = np.broadcast_to(np.arange(m)[:, None], found.index.shape)
  pairs = np.ravel(anchors * m + np.asarray(found.index))
  ours = np.bincount(pairs, minlength=m * m).reshape(m, m)
  assert ours.sum() == theirs.sum() and (np.diag(ours) == np.diag(theirs)).all()
  # Both have 5,000 draws over 5 frames: a difference has a deviation of 40.
  assert np.abs(ours - theirs).max() < 4 * 40


def test_counted_spans_hide_frames_as_often_as_the_originals():
  share, hidden = STORED["masks/share"], STORED["masks/hidden"]
  n, rows = len(share), int(hidden.sum())
  assert share[-1] == 0  # the original never hides the last frame
  keys = example_keys(jax.random.key(0), jnp.arange(rows))
  mask = mask_spans(
    keys, jnp.full(rows, n - 1), n - 1, rule="count", ratio=0.65 * n / (n - 1), least=2
  )
  # 4,000 rows each: the difference of two shares has a deviation of at most 0.0112.
  np.testing.assert_allclose(np.asarray(mask).mean(0), share[:-1], atol=0.045)
  ours = np.bincount(np.asarray(mask).sum(1), minlength=n + 1)
  np.testing.assert_allclose(ours.cumsum(), hidden.cumsum(), atol=4 * 45)
