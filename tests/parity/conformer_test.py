"""Same weights and inputs: frames and gradients of transformers' Wav2Vec2Conformer.

The original sees one row at a time and we see both in one batch, padded with NaN.
Tolerances: 1e-4 on frames up to 4, 1e-4 of the largest on gradients: float32 in another
order.
"""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
from parity import conformer as original

from mdm.nn.conformer import Conformer

STORED = original.numbers()
FRAMES = 45
X = np.full((2, FRAMES, original.WIDTH), np.nan, np.float32)
for row, length in enumerate(original.LENGTHS):
  X[row, :length] = STORED[f"input/{row}"]
VALID = jnp.asarray(np.arange(FRAMES) < np.array(original.LENGTHS)[:, None])
MODEL = Conformer(
  original.DEPTH,
  original.HEADS,
  kernel=31,
  mlp_ratio=2.5,
  norm="batch",
  epsilon=1e-5,
  scan=True,  # one layer to compile
)


def unflatten(arrays):
  return flax.traverse_util.unflatten_dict(arrays, sep="/")


def stack(blocks):
  """Both layers as a scan has them."""
  layers = [blocks[f"block_{i}"] for i in range(original.DEPTH)]
  return {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)}


@functools.cache
def found():
  """Frames, and gradients of the sum of their squared distances from 1."""
  params, statistics = map(unflatten, (original.params(), original.statistics()))

  def loss(params, x):
    variables = {"params": stack(params), "batch_stats": stack(statistics)}
    y = MODEL.apply(variables, x, VALID, train=False)
    return jnp.square(jnp.where(VALID[..., None], y - 1.0, 0.0)).sum(), y

  gradient = jax.value_and_grad(loss, (0, 1), has_aux=True)
  return jax.jit(gradient)(params, jnp.asarray(X))


def test_frames_are_the_originals():
  (loss, y), _ = found()
  for row, length in enumerate(original.LENGTHS):
    np.testing.assert_allclose(y[row, :length], STORED[f"output/{row}"], atol=1e-4)
  np.testing.assert_allclose(loss, STORED["output/loss"], rtol=1e-5)


def test_gradients_of_frames_are_the_originals_and_0_in_padding():
  _, (_, to_x) = found()
  for row, length in enumerate(original.LENGTHS):
    expected = STORED[f"grad_input/{row}"]
    bound = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(to_x[row, :length], expected, atol=bound)
    assert (to_x[row, length:] == 0).all()


def test_gradients_of_weights_are_the_originals():
  _, (to_params, _) = found()
  ours = flax.traverse_util.flatten_dict(to_params, sep="/")
  expected = original.params("grad/")
  assert ours.keys() == expected.keys()
  for name, array in expected.items():
    if name.endswith(("conv/gate/bias", "conv/out/bias")):
      continue  # the original has none
    bound = 1e-4 * max(np.abs(array).max(), 1.0)
    np.testing.assert_allclose(ours[name], array, atol=bound, err_msg=name)
