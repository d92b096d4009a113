"""Same weights, images and masks: tokens, predictions, loss of the original SimMIM.

Tolerances: 1e-4 on tokens and predictions up to 5, 1e-5 relative on the loss, 1e-4 of
the largest on gradients: float32 in another order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from parity import simmim as original

from mdm.interop import safetensors
from mdm.masks.scores import split_by_mask
from mdm.methods.image.simmim import SimMim
from mdm.nn.patches import unpatchify
from mdm.training import build

STORED = original.numbers()
IMAGE, MASK = jnp.asarray(STORED["input/image"]), jnp.asarray(STORED["input/mask"])
KEPT = 12  # 36 patches in 9 cells of 4, of which 6 are hidden


class GivenSimMim(SimMim):
  """One that sees given images and masks, as the original was made to."""

  def prepare(self, batch, *, train):
    return IMAGE

  def split(self, batch, image):
    return split_by_mask(MASK, KEPT)


def method():
  return GivenSimMim(
    encoder=build.build_network(original.ENCODER, "", jnp.dtype("float32")),
    decoder=build.build_network(original.DECODER, "", jnp.dtype("float32")),
  )


@functools.cache
def found():
  def parts(m):
    split = m.split({}, IMAGE)
    tokens = m.encoder(IMAGE, mask=split.mask)
    return tokens, m.predict_patches(IMAGE, split, of_all=True, train=False)

  return jax.jit(lambda p: method().apply({"params": p}, method=parts))(
    original.params()
  )


def test_tokens_are_the_originals():
  np.testing.assert_allclose(found()[0][:, 1:], STORED["output/tokens"], atol=1e-4)


def test_predicted_pixels_are_the_originals():
  pixels = unpatchify(found()[1], (6, 6), 3)
  np.testing.assert_allclose(pixels, STORED["output/predicted"], atol=1e-4)


@functools.cache
def loss_and_gradients():
  def loss(params):
    batch = {"image": IMAGE}
    return method().apply({"params": params}, batch, train=False)["loss"].value()

  return jax.jit(jax.value_and_grad(loss))(original.params())


def test_the_loss_is_the_originals():
  np.testing.assert_allclose(loss_and_gradients()[0], STORED["output/loss"], rtol=1e-5)


def test_gradients_are_the_originals():
  got = safetensors.flatten(loss_and_gradients()[1])
  expected = safetensors.flatten(original.params("grad/"))
  assert got.keys() == expected.keys()
  for name, array in expected.items():
    ours = np.array(got[name])
    if name.endswith("qkv/bias"):
      assert np.abs(ours[1]).max() < 1e-6  # of keys: it changes nothing, there is none
      ours[1] = 0
    bound = 1e-4 * np.abs(array).max()
    np.testing.assert_allclose(ours, array, atol=bound, err_msg=name)


def test_the_originals_masks_are_cells_of_which_as_many_are_hidden():
  cells = np.asarray(MASK).reshape(3, 3, 2, 3, 2)
  assert (cells == cells[:, :, :1, :, :1]).all()
  assert (np.asarray(MASK).sum(1) == 36 - KEPT).all()
