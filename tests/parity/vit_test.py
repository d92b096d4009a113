"""Same weights, images and noise: logits, states, losses of transformers' ViT.

Tolerances: 1e-5 on logits, states and predictions up to 8, relative on losses: float32
in another order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import vit as original

from mdm.methods.image.base import ImageMethod
from mdm.methods.image.classify import Classify
from mdm.methods.image.mae import Mae
from mdm.training import build

STORED = original.numbers()
IMAGE, NOISE = STORED["input/image"], STORED["input/noise"]
HALF = {"mean": (0.5,), "deviation": (0.5,)}


class GivenMae(Mae):
  """One that sees given noise, as the original was made to."""

  def scores(self, batch, image):
    return jnp.asarray(NOISE)


def networks(model, **changes):
  specs = original.config(model, **changes)["model"]
  return {
    name: build.build_network(spec, f"model.{name}", jnp.dtype("float32"))
    for name, spec in specs.items()
  }


def ask(method, model, verb, **changes):
  variables = {"params": original.params(model, **changes)}
  return jax.jit(lambda v: method.apply(v, {"image": IMAGE}, method=verb))(variables)


@pytest.mark.parametrize("scan", [False, True])
def test_a_classifiers_logits_are_the_originals(scan):
  settings = dict(original.config("classifier")["method"])
  del settings["name"]
  method = Classify(**networks("classifier", scan=scan), **settings)
  found = ask(
    method,
    "classifier",
    lambda m, batch: m.logits(m.prepare(batch, train=False), train=False),
    scan=scan,
  )
  assert STORED["classifier/logits"].std(axis=0).min() > 0.1  # of images
  np.testing.assert_allclose(found, STORED["classifier/logits"], atol=1e-5)


def test_an_encoders_states_are_the_originals():
  method = ImageMethod(**networks("encoder"), **HALF)
  states = ask(
    method, "encoder", lambda m, batch: m.encoder(m.prepare(batch, train=False))
  )
  np.testing.assert_allclose(states, STORED["encoder/states"], atol=1e-5)
  vectors = ask(method, "encoder", lambda m, batch: m.encode(batch, pool="cls"))
  np.testing.assert_allclose(vectors, STORED["encoder/states"][:, 0], atol=1e-5)


@functools.cache
def filled(norm_pixels):
  """Mask, predictions of all patches, and the loss of an autoencoder."""
  method = GivenMae(**networks("mae"), **HALF, norm_pixels=norm_pixels)

  def parts(m, batch):
    image = m.prepare(batch, train=False)
    split = m.split(batch, image)
    loss = m(batch, train=False)["loss"].value()
    return split.mask, m.predict_patches(image, split, of_all=True, train=False), loss

  return ask(method, "mae", parts)


def test_an_autoencoder_hides_and_predicts_as_the_original():
  mask, predicted, _ = filled(True)
  np.testing.assert_array_equal(mask, STORED["mae/mask"])
  np.testing.assert_allclose(predicted, STORED["mae/predicted"], atol=1e-5)


@pytest.mark.parametrize(("case", "norm"), [("plain", False), ("norm", True)])
def test_losses_are_the_originals(case, norm):
  np.testing.assert_allclose(filled(norm)[2], STORED[f"mae/loss_{case}"], rtol=1e-5)
  assert abs(STORED["mae/loss_plain"] - STORED["mae/loss_norm"]) > 0.1
