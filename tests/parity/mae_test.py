"""Same weights, images and noise: features, predictions, losses of the original MAE.

Tolerances: 1e-4 on features and predictions up to 4, 1e-5 relative on losses, 1e-4 of
the largest on gradients: float32 in another order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import mae as original

from mdm.interop import mae
from mdm.masks.scores import split_by_score
from mdm.methods.image.mae import Mae
from mdm.nn.layers import LayerNorm, Linear
from mdm.training import build, optimizer

STORED = original.numbers()
IMAGE, NOISE = STORED["input/image"], STORED["input/noise"]
KEPT = 6  # int(25 * (1 - 0.75))


def network(arrays, part, **changes):
  spec = original.config(arrays, **changes)["model"][part]
  return build.build_network(spec, f"model.{part}", jnp.dtype("float32"))


class GivenMae(Mae):
  """One that sees given images and noise, as the original was made to."""

  def prepare(self, batch, *, train):
    return jnp.asarray(IMAGE)

  def scores(self, batch, image):
    return jnp.asarray(NOISE)


def method(*, norm_pixels, **changes):
  parts = {p: network(original.weights(), p, **changes) for p in ("encoder", "decoder")}
  return GivenMae(**parts, norm_pixels=norm_pixels)


@functools.cache
def found(scan=False):
  """Mask, features of kept patches, predictions for all."""

  def parts(m):
    image = m.prepare({}, train=False)
    split = m.split({}, image)
    tokens = m.encoder(image, keep=split.keep)
    return split, tokens, m.predict_patches(image, split, of_all=True, train=False)

  variables = {"params": original.params(original.weights(), scan=scan)}
  run = method(norm_pixels=True, scan=scan)
  return jax.jit(lambda v: run.apply(v, method=parts))(variables)


def test_the_same_patches_are_hidden():
  np.testing.assert_array_equal(found()[0].mask, STORED["output/mask"])


@pytest.mark.parametrize("scan", [False, True])
def test_features_are_the_originals_but_for_the_order_of_the_patches(scan):
  split, tokens, _ = found(scan)
  theirs = np.argsort(NOISE, axis=1)[:, :KEPT]  # it keeps the order of the noise
  order = np.argsort(theirs, axis=1)
  assert (np.take_along_axis(theirs, order, 1) == np.asarray(split.keep)).all()
  latent = STORED["output/latent"]
  patches = np.take_along_axis(latent[:, 1:], order[..., None], 1)
  np.testing.assert_allclose(tokens[:, 0], latent[:, 0], atol=1e-4)
  np.testing.assert_allclose(tokens[:, 1:], patches, atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_predictions_are_the_originals(scan):
  np.testing.assert_allclose(found(scan)[2], STORED["output/predicted"], atol=1e-4)


@functools.cache
def loss_and_gradients(norm_pixels):
  batch = {"image": IMAGE}

  def loss(params):
    run = method(norm_pixels=norm_pixels)
    return run.apply({"params": params}, batch, train=False)["loss"].value()

  return jax.jit(jax.value_and_grad(loss))(original.params(original.weights()))


@pytest.mark.parametrize(("case", "norm"), [("plain", False), ("norm", True)])
def test_losses_are_the_originals(case, norm):
  loss, _ = loss_and_gradients(norm)
  np.testing.assert_allclose(loss, STORED[f"output/loss_{case}"], rtol=1e-5)
  assert STORED["output/loss_plain"] != STORED["output/loss_norm"]


def test_gradients_are_the_originals():
  _, grads = loss_and_gradients(True)
  got = mae.export_weights(grads, original.config(original.weights()))
  expected = original.below("grad/")
  assert got.keys() - expected.keys() == {"pos_embed", "decoder_pos_embed"}  # fixed
  for name, array in expected.items():
    bound = 1e-4 * np.abs(array).max()
    np.testing.assert_allclose(got[name], array, atol=bound, err_msg=name)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_fine_tuned_classifier_gives_the_originals_logits(pool):
  arrays = original.classifier(pool)
  params = original.params(arrays)
  encoder = network(arrays, "encoder")
  variables = jax.device_put({"params": params["encoder"]})
  tokens = encoder.apply(variables, jnp.asarray(IMAGE))
  x = tokens[:, 0]
  if pool == "mean":
    x = LayerNorm().apply({"params": params["norm"]}, tokens[:, 1:].mean(1))
  logits = Linear((5,), ("embed", None)).apply({"params": params["head"]}, x)
  np.testing.assert_allclose(logits, STORED[f"output/logits_{pool}"], atol=1e-4)


def test_rates_by_layer_and_decay_are_those_of_its_fine_tuning():
  arrays = original.classifier("cls")
  config, params = original.config(arrays), original.params(arrays)
  factors = jax.tree.map(lambda depth: 0.75**depth, optimizer.layer_depths(params))
  decays = optimizer.decay_mask(params)

  def names(tree):
    """A number per parameter, under the names of the weights."""
    filled = jax.tree.map(lambda x, p: np.full(p.shape, x), tree, params)
    return {k: v.ravel()[-1] for k, v in mae.export_weights(filled, config).items()}

  rates = original.rates()
  assert names(factors) == pytest.approx({k: rate for k, (rate, _) in rates.items()})
  assert names(decays) == {k: decay for k, (_, decay) in rates.items()}
  assert min(names(factors).values()) == 0.75**3  # two layers: depth + 1


def test_noise_and_images_are_such_that_the_test_sees_an_order():
  split = split_by_score(jnp.asarray(NOISE), KEPT)
  assert (np.asarray(split.keep) != np.argsort(NOISE, 1)[:, :KEPT]).any()
