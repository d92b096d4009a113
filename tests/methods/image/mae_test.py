"""The masked autoencoder: what its loss reads, and what it never sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.methods.image.mae import Mae
from mdm.nn.patch_decoders import MaskedDecoder
from mdm.nn.patches import patchify, standardise
from mdm.nn.vit import Vit

KEPT, N = 4, 16


def make(**settings):
  return Mae(
    encoder=Vit(patch=4, width=16, depth=1, heads=2),
    decoder=MaskedDecoder(width=16, depth=1, heads=2),
    **settings,
  )


def batch(rows=4, seed=0):
  rng = np.random.default_rng(seed)
  return {
    "image": rng.integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8),
    "index": np.arange(rows, dtype=np.int32) + 10,
    "weight": np.ones(rows, np.float32),
  }


def streams(seed=0):
  names = ("mask", "augment", "dropout")
  return dict(zip(names, jax.random.split(jax.random.key(seed), 3), strict=True))


@pytest.fixture(scope="module")
def variables():
  keys = {"params": jax.random.key(1), **streams()}
  return meta.unbox(jax.jit(lambda k: make().init(k, batch(), train=False))(keys))


def call(method, variables, data, *, train=False, seed=0):
  run = jax.jit(lambda v: method.apply(v, data, train=train, rngs=streams(seed)))
  return run(variables)


def ask(method, variables, function):
  """What a function of the bound method returns."""
  return jax.jit(
    lambda v: method.apply(v, rngs=streams(), method=lambda m: function(m))
  )(variables)


def test_the_loss_is_the_mean_over_hidden_patches_computed_by_hand(variables):
  data, method = batch(), make()

  def parts(m):
    image = m.prepare(data, train=False)
    split = m.split(data, image)
    return image, split, m.predict_patches(image, split, of_all=True, train=False)

  image, split, predicted = ask(method, variables, parts)
  assert (np.asarray(split.mask).sum(1) == N - KEPT).all()
  target = standardise(patchify(image, 4))
  errors = np.square(np.asarray(predicted - target)).mean(-1)[np.asarray(split.mask)]
  loss = call(method, variables, data)["loss"]
  assert float(loss.weight) == errors.size == 4 * (N - KEPT)
  np.testing.assert_allclose(loss.value(), errors.mean(), rtol=1e-5)


def test_a_row_that_fills_the_batch_counts_for_nothing(variables):
  data = batch()
  data["weight"][2:] = 0
  two = {name: array[:2] for name, array in data.items()}
  whole, part = (call(make(), variables, d)["loss"] for d in (data, two))
  np.testing.assert_allclose(whole.total, part.total, rtol=1e-5)
  assert whole.weight == part.weight


@pytest.mark.parametrize("train", [False, True])
def test_masks_and_crops_do_not_depend_on_the_order_of_the_batch(variables, train):
  data = batch()
  turned = {name: array[::-1] for name, array in data.items()}

  def parts(m, data):
    image = m.prepare(data, train=train)
    return image, m.split(data, image).mask

  image, mask = ask(make(), variables, lambda m: parts(m, data))
  image_, mask_ = ask(make(), variables, lambda m: parts(m, turned))
  np.testing.assert_array_equal(image, image_[::-1])
  np.testing.assert_array_equal(mask, mask_[::-1])
  assert len(np.unique(np.asarray(mask), axis=0)) > 1


def test_no_gradient_reaches_the_encoder_from_hidden_pixels_but_the_target_is_theirs(
  variables,
):
  data, method = batch(), make(norm_pixels=False)

  def encode(m, image):
    split = m.split(data, image)
    return m.encoder(image, keep=split.keep, train=False).sum(), split.mask

  image = ask(method, variables, lambda m: m.prepare(data, train=False))
  gradient, mask = jax.grad(
    lambda x: ask(method, variables, lambda m: encode(m, x)), has_aux=True
  )(image)
  by_patch = np.abs(np.asarray(patchify(gradient, 4))).sum(-1)
  assert (by_patch[np.asarray(mask)] == 0).all()
  assert (by_patch[~np.asarray(mask)] > 0).all()


def test_in_evaluation_images_are_normalised_and_nothing_else(variables):
  data = batch()
  image = ask(make(), variables, lambda m: m.prepare(data, train=False))
  mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  np.testing.assert_allclose(image, (data["image"] / 255 - mean) / deviation, atol=1e-5)
  back = ask(make(), variables, lambda m: m.to_pixels(image))
  np.testing.assert_allclose(back, data["image"] / 255, atol=1e-6)


def test_a_reconstruction_keeps_what_was_visible_and_undoes_the_normalisation(
  variables,
):
  data = batch()
  found = ask(make(), variables, lambda m: m.reconstruct(data))
  hidden = np.asarray(found.mask).reshape(-1, 4, 4).repeat(4, 1).repeat(4, 2)
  np.testing.assert_allclose(found.image, data["image"] / 255, atol=1e-5)
  np.testing.assert_array_equal(
    np.asarray(found.filled)[~hidden], np.asarray(found.image)[~hidden]
  )
  assert (np.asarray(found.error)[~np.asarray(found.mask)] == 0).all()
  loss = call(make(), variables, data)["loss"]
  np.testing.assert_allclose(np.asarray(found.error).sum(), loss.total, rtol=1e-4)

  def perfect(m):
    """Predictions that equal the targets must give the image back."""
    image = m.prepare(data, train=False)
    target = m.targets(image, jnp.broadcast_to(jnp.arange(N), (4, N)))
    object.__setattr__(m, "predict_patches", lambda *_, **__: target)
    return m.reconstruct(data).filled

  np.testing.assert_allclose(
    ask(make(), variables, perfect), data["image"] / 255, atol=1e-4
  )


def test_plain_pixels_are_the_target_where_norm_pixels_is_off(variables):
  data = batch()
  places = jnp.asarray([[3, 0]] * 4)
  image = ask(make(), variables, lambda m: m.prepare(data, train=False))
  target = ask(make(norm_pixels=False), variables, lambda m: m.targets(image, places))
  np.testing.assert_array_equal(target, np.asarray(patchify(image, 4))[:, [3, 0]])


def test_features_are_the_mean_of_all_patches_or_the_class_token(variables):
  data = batch()

  def tokens(m):
    return m.encoder(m.prepare(data, train=False))

  every = ask(make(), variables, tokens)
  for pool, wanted in (("mean", every[:, 1:].mean(1)), ("cls", every[:, 0])):
    found = ask(make(), variables, lambda m, pool=pool: m.encode(data, pool=pool))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"mask_ratio": 1.0}, "1.0"),
    ({"mask_ratio": 75.0}, "75"),
    ({"mask_ratio": 0.999}, "0.999"),
    ({"mean": (0.5, 0.5)}, "2 channels, and the images have 3"),
  ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_compiled(
  variables, settings, words
):
  method = make(**settings)
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(
      lambda v: method.apply(v, batch(), train=False, rngs=streams()), variables
    )
