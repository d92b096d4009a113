"""Samples drawn while a model learns: texts, and images whose tokens are pixels."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint
from toys.bright import Looker

from mdm.data import datasets
from mdm.data.text.characters import Characters
from mdm.evaluation.drawings import Drawings
from mdm.evaluation.image_plots import draw_grid
from mdm.methods.diffusion.mdlm import MDLM


class Texts:
  """A data set of two letters, or of images of two values."""

  tokenizer = Characters("ab")

  def __init__(self, shape=None):
    self.shape = shape

  def describe(self):
    return {"image_shape": self.shape} if self.shape else {}


class Constant(nn.Module):
  """Finds one value certain everywhere."""

  vocab_size: int = 256

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    return 50.0 * jnp.broadcast_to(jnp.arange(256) == 200, (*tokens.shape, 256))


def _draw(monkeypatch, method, shape=None, **settings):
  monkeypatch.setattr(datasets, "load", lambda data, split: Texts(shape))
  return Drawings(**{"num_steps": 2, "length": 2, **settings}).build(method, {})({})


def test_texts_are_drawn_and_their_entropy_is_told(monkeypatch):
  method = MDLM(joint.Exact())
  found = _draw(monkeypatch, method, count=6)
  assert 0 <= found["entropy_bits"] <= 1
  again = _draw(monkeypatch, method, count=6)
  np.testing.assert_array_equal(found.picture, again.picture)
  other = _draw(monkeypatch, method, count=6, seed=1)
  assert (found.picture != other.picture).any()
  assert found.picture.shape[0] > _draw(monkeypatch, method, count=2).picture.shape[0]


def test_images_are_drawn_as_a_grid_of_their_pixels(monkeypatch):
  found = _draw(monkeypatch, MDLM(Constant()), [2, 3, 3], count=4)
  wanted = draw_grid([np.full((2, 3, 3), 200, np.uint8)] * 4)
  np.testing.assert_array_equal(found.picture, np.asarray(wanted))
  assert found["entropy_bits"] == 0


def test_what_cannot_be_drawn_is_refused(monkeypatch):
  with pytest.raises(ValueError, match="count = 0 samples"):
    _draw(monkeypatch, MDLM(joint.Exact()), count=0)
  with pytest.raises(ValueError, match="Looker cannot write"):
    _draw(monkeypatch, Looker())
  with pytest.raises(ValueError, match="sampler"):
    _draw(monkeypatch, MDLM(joint.Exact()), sampler="ancient")
