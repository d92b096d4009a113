"""Same weights, images and masks: predicted losses, all losses, guidance of HPM.

Tolerances: 1e-4 on predictions, 1e-5 relative on losses, 1e-4 of the largest on
gradients: float32 in another order, and 1e-6 within the original's logarithms.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import hpm as original

from mdm.interop import safetensors
from mdm.masks.hard import count_hard, hard_scores, hard_share
from mdm.masks.keys import example_keys
from mdm.masks.scores import split_by_mask, split_by_score
from mdm.methods.image.hpm import Hpm, order_loss, value_loss
from mdm.training import build

STORED = original.numbers()
IMAGE, MASK = jnp.asarray(STORED["input/image"]), jnp.asarray(STORED["input/mask"])
KEPT = 6  # int(25 * (1 - 0.75))
BATCH = {"image": STORED["input/image"]}


class GivenHpm(Hpm):
  """One that sees given images and masks, as the original was made to."""

  def prepare(self, batch, *, train):
    return IMAGE

  def split(self, batch, image):
    return split_by_mask(MASK, KEPT)


def method():
  networks = {"encoder": original.ENCODER, "decoder": original.DECODER}
  return GivenHpm(
    **{
      name: build.build_network(spec, name, jnp.dtype("float32"))
      for name, spec in networks.items()
    }
  )


@functools.cache
def found():
  """Predictions where the original hides, losses of the whole image's patches."""

  def parts(m):
    hidden = m.predict(IMAGE, m.split(BATCH, IMAGE), train=False)
    return hidden, m.predict_losses(IMAGE)

  return jax.jit(lambda p: method().apply({"params": p}, method=parts))(
    original.params()
  )


def test_predictions_of_both_decoders_are_the_originals():
  hidden, _ = found()
  np.testing.assert_allclose(hidden.patches, STORED["output/patches"], atol=1e-4)
  np.testing.assert_allclose(hidden.losses, STORED["output/losses"], atol=1e-4)


def test_losses_expected_of_a_whole_image_are_the_originals_in_raster_order():
  np.testing.assert_allclose(found()[1], STORED["output/losses_of_all"], atol=1e-4)


@pytest.mark.parametrize(
  ("name", "compare"), [("relative", order_loss), ("absolute", value_loss)]
)
def test_either_comparison_of_given_losses_is_the_originals(name, compare):
  predicted, error = STORED["output/losses"], STORED["output/error"]
  loss = compare(jnp.asarray(predicted), jnp.asarray(error), jnp.ones(error.shape))
  np.testing.assert_allclose(loss.value(), STORED[f"output/{name}"], rtol=1e-5)


@functools.cache
def losses_and_gradients():
  def loss(params):
    found = method().apply({"params": params}, BATCH, train=False)
    parts = [found[f"loss/{name}"].value() for name in ("patches", "order")]
    return sum(parts), parts

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(original.params())


def test_the_losses_are_the_originals():
  (_, (patches, order)), _ = losses_and_gradients()
  np.testing.assert_allclose(patches, STORED["output/loss"], rtol=1e-5)
  np.testing.assert_allclose(order, STORED["output/relative"], rtol=1e-5)


def test_gradients_of_their_sum_are_the_originals():
  got = safetensors.flatten(losses_and_gradients()[1])
  expected = safetensors.flatten(original.params("grad/"))
  assert got.keys() == expected.keys()
  for name, array in expected.items():
    bound = 1e-4 * np.abs(array).max() + 1e-7  # no level of losses: 0 for their bias
    np.testing.assert_allclose(got[name], array, atol=bound, err_msg=name)


def test_in_every_epoch_as_many_of_the_hardest_are_hidden_as_the_original_hides():
  """It hides them in every row, and the next hardest of them only in some."""
  difficulty, masks = STORED["guide/difficulty"], STORED["guide/mask"]
  epochs, (rows, n) = len(masks), difficulty.shape
  hidden = int(masks[0, 0].sum())
  order = np.argsort(-difficulty, axis=1)
  keys = example_keys(jax.random.key(0), jnp.arange(rows))
  for epoch, theirs in enumerate(masks):
    count = int(count_hard(hidden, hard_share(epoch, epochs)))
    ranked = np.take_along_axis(theirs, order, axis=1)
    assert ranked[:, :count].all()
    assert not ranked[:, count].all()
    scores = hard_scores(keys, jnp.asarray(difficulty), count)
    ours = split_by_score(scores, n - hidden).mask
    assert np.take_along_axis(np.asarray(ours), order, axis=1)[:, :count].all()
    assert (theirs.sum(1) == np.asarray(ours).sum(1)).all()
