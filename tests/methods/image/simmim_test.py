"""SimMIM: hidden cells, what the encoder sees in their place, and what is counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.methods.image.simmim import SimMim
from mdm.nn.patch_decoders import LinearDecoder
from mdm.nn.patches import patchify
from mdm.nn.vit import Vit

N, HIDDEN = 24, 16  # 4 x 6 patches in 6 cells, of which ceil(0.6 * 6) = 4 are hidden


def make(**settings):
  encoder = Vit(patch=4, width=16, depth=1, heads=2)
  return SimMim(encoder=encoder, decoder=LinearDecoder(), **settings)


def batch(rows=4, seed=0):
  rng = np.random.default_rng(seed)
  return {
    "image": rng.integers(0, 256, (rows, 16, 24, 3)).astype(np.uint8),
    "index": np.arange(rows, dtype=np.int32) + 10,
    "weight": np.ones(rows, np.float32),
  }


def streams(seed=0):
  names = ("mask", "augment", "dropout")
  return dict(zip(names, jax.random.split(jax.random.key(seed), 3), strict=True))


@pytest.fixture(scope="module")
def variables():
  keys = {"params": jax.random.key(1), **streams()}
  found = meta.unbox(jax.jit(lambda k: make().init(k, batch(), train=False))(keys))
  rng = np.random.default_rng(2)  # away from zeros and ones
  return jax.tree.map(lambda x: np.float32(x + 0.1 * rng.normal(size=x.shape)), found)


def ask(method, variables, function):
  """What a function of the bound method returns."""
  run = jax.jit(lambda v: method.apply(v, rngs=streams(), method=lambda m: function(m)))
  return run(variables)


def test_whole_cells_are_hidden_as_many_in_every_image(variables):
  data = batch(32)

  def split(m):
    return m.split(data, m.prepare(data, train=False))

  found = ask(make(), variables, split)
  mask = np.asarray(found.mask)
  assert found.hide.shape == (32, HIDDEN)
  assert (mask.sum(1) == HIDDEN).all()
  cells = mask.reshape(32, 2, 2, 3, 2)
  assert (cells == cells[:, :, :1, :, :1]).all()
  single = np.asarray(ask(make(cell=1), variables, split).mask)
  assert (single.sum(1) == 15).all()  # ceil(0.6 * 24)
  assert (
    single.reshape(32, 2, 2, 3, 2) != single.reshape(32, 2, 2, 3, 2)[:, :, :1]
  ).any()


def test_at_224_pixels_120_of_196_patches_are_hidden():
  method = SimMim(
    encoder=Vit(patch=16, width=12, depth=1, heads=1), decoder=LinearDecoder()
  )
  image = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
  data = batch(2)
  found = jax.eval_shape(
    lambda x: method.apply({}, data, x, rngs=streams(), method="split"), image
  )
  assert found.hide.shape == (2, 120)


def test_the_loss_is_the_mean_absolute_error_of_hidden_pixels_by_hand(variables):
  data = batch()
  data["weight"][3:] = 0

  def parts(m):
    image = m.prepare(data, train=False)
    split = m.split(data, image)
    return image, split, m.predict_patches(image, split, of_all=True, train=False)

  image, split, predicted = ask(make(), variables, parts)
  hidden = np.asarray(split.mask)[:3]
  errors = np.abs(np.asarray(predicted - patchify(image, 4)))[:3][hidden]
  run = jax.jit(lambda v: make().apply(v, data, train=False, rngs=streams()))
  loss = run(variables)["loss"]
  np.testing.assert_allclose(loss.value(), errors.mean(), rtol=1e-5)
  assert loss.weight == 3 * HIDDEN


def test_predictions_of_hidden_patches_are_those_among_all(variables):
  data = batch()

  def parts(m):
    image = m.prepare(data, train=False)
    split = m.split(data, image)
    both = [
      m.predict_patches(image, split, of_all=x, train=False) for x in (False, True)
    ]
    return split.hide, *both

  hide, some, every = ask(make(), variables, parts)
  wanted = np.take_along_axis(np.asarray(every), np.asarray(hide)[..., None], 1)
  np.testing.assert_allclose(some, wanted, atol=1e-6)


def test_no_prediction_depends_on_hidden_pixels_but_on_visible_ones(variables):
  data = batch()

  def total(m, image):
    split = m.split(data, image)
    predicted = m.predict_patches(image, split, of_all=True, train=False)
    return jnp.square(predicted).sum(), split.mask

  image = ask(make(), variables, lambda m: m.prepare(data, train=False))
  gradient, mask = jax.grad(
    lambda x: ask(make(), variables, lambda m: total(m, x)), has_aux=True
  )(image)
  by_patch = np.abs(np.asarray(patchify(gradient, 4))).sum(-1)
  assert (by_patch[np.asarray(mask)] == 0).all()
  assert (by_patch[~np.asarray(mask)] > 0).all()


def test_hidden_patches_of_unlike_places_are_predicted_unlike(variables):
  """The mask token stands in place of the pixels, not of the position."""
  data = batch(1)

  def parts(m):
    image = jnp.zeros((1, 16, 24, 3))
    return m.predict_patches(image, m.split(data, image), train=False)

  [predicted] = np.asarray(ask(make(), variables, parts))
  assert np.abs(predicted - predicted[:1])[1:].max(-1).min() > 1e-3


def test_a_reconstruction_puts_predicted_pixels_in_hidden_cells(variables):
  data = batch()
  found = ask(make(), variables, lambda m: m.reconstruct(data))
  hidden = np.asarray(found.mask).reshape(-1, 4, 6).repeat(4, 1).repeat(4, 2)
  same = (np.asarray(found.filled) == np.asarray(found.image)).all(-1)
  assert same[~hidden].all()
  assert not same[hidden].any()


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"cell": 4}, "cells of 4 x 4 patches do not fill a grid of 4 x 6"),
    ({"cell": 0}, "cells of 0 x 0"),
    ({"mask_ratio": 1.0}, "1.0"),
    ({"mask_ratio": 0.9}, "none visible"),
  ],
)
def test_cells_and_shares_that_cannot_be_are_refused(variables, settings, words):
  method = make(**settings)
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(
      lambda v: method.apply(v, batch(), train=False, rngs=streams()), variables
    )
