"""Same weights, same inputs: our networks give the numbers of the original.

Tolerance 1e-4 absolute, on values of order one: both sides add in float32, in another
order, through six encoder and two decoder blocks.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from parity import mdiff4str as original

from mdm.decoding.decode import decode
from mdm.nn.embed import CanvasEmbed
from mdm.nn.svtr import SVTR
from mdm.nn.transformer import CrossDecoder


@pytest.fixture(scope="module")
def stored():
  return original.numbers()


def build_encoder():
  return SVTR(mixers=original.MIXERS, dims=original.DIMS, heads=original.HEADS)


@pytest.fixture(scope="module")
def read(stored):
  """Logits of canvases, jitted once."""
  width = original.DIMS[-1]
  embed = CanvasEmbed(original.CHARACTERS + 3, original.CANVAS, width, 0.1)
  trunk = CrossDecoder(depth=original.LAYERS, heads=original.DECODER_HEADS)
  params = original.decoder_params(stored)

  @jax.jit
  def logits(tokens, memory):
    x = embed.apply({"params": params["embed"]}, tokens, train=False)
    x = trunk.apply({"params": params["decoder"]}, x, memory, train=False)
    return x @ params["classify"]["kernel"]

  return logits


def test_name_map_fills_every_variable_of_the_encoder_with_its_shape(stored):
  ours = jax.eval_shape(
    lambda: build_encoder().init(
      jax.random.key(0), jnp.zeros(stored["input/image"].shape), train=False
    )
  )
  theirs = original.encoder_variables(stored)
  shapes = jax.tree.map(jnp.shape, meta.unbox(ours))
  assert shapes == jax.tree.map(jnp.shape, theirs)


def test_encoder_output_equals_the_original(stored):
  memory = jax.jit(lambda v, x: build_encoder().apply(v, x, train=False))(
    original.encoder_variables(stored), stored["input/image"]
  )
  np.testing.assert_allclose(memory, stored["output/memory"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("canvas", ["noisy", "replaced"])
def test_decoder_logits_of_three_copies_equal_the_original(stored, read, canvas):
  ours = read(stored[f"input/{canvas}"], stored["output/memory"])
  np.testing.assert_allclose(ours, stored[f"output/logits_{canvas}"], rtol=0, atol=1e-4)


def test_denoising_loss_from_our_logits_equals_the_original(stored, read):
  # sum over hidden of c_i / (share (m + 1)), mean over examples and copies
  cost = _costs(read(stored["input/noisy"], stored["output/memory"]), stored)
  scale = stored["input/share"] * (stored["input/length"][:, None] + 1)  # b r
  ours = (cost * stored["input/masked"]).sum(-1) / scale
  np.testing.assert_allclose(ours.mean(), stored["output/loss_denoise"], rtol=1e-5)


def test_replacement_loss_from_our_logits_equals_the_original(stored, read):
  # mean over all real tokens of the batch, replaced or not
  cost = _costs(read(stored["input/replaced"], stored["output/memory"]), stored)
  real = stored["input/labels"] != original.CHARACTERS + 2  # b n
  ours = (cost * real[:, None]).sum() / (real.sum() * cost.shape[1])
  np.testing.assert_allclose(ours, stored["output/loss_replace"], rtol=1e-5)


@pytest.mark.parametrize(
  ("decoder", "name"),
  [
    ("pd", "parallel"),
    ("ar", "autoregressive"),
    ("lc", "low_confidence"),
    ("blc", "block_low_confidence"),
  ],
)
def test_decoders_give_the_tokens_and_confidences_of_the_original(
  stored, read, decoder, name
):
  memory = stored["output/memory"]
  empty = jnp.full((len(memory), original.CANVAS), original.CHARACTERS + 1)
  decoded = jax.jit(
    lambda canvas: decode(
      lambda tokens, share: read(tokens[:, None], memory)[:, 0],
      canvas,
      decoder,
      mask_id=original.CHARACTERS + 1,
      num_steps=3,
    )
  )(empty)
  tokens = stored[f"decode/{name}_tokens"]  # b n, or fewer: the original may stop
  probs = np.asarray(decoded.probs)[:, : tokens.shape[1]]
  np.testing.assert_array_equal(probs.argmax(-1), tokens)
  np.testing.assert_allclose(
    probs.max(-1), stored[f"decode/{name}_confidence"], rtol=0, atol=1e-5
  )


def _costs(logits, stored):
  """Cross-entropy [b r n]; 0 where the label is padding."""
  labels = stored["input/labels"][:, None]  # b 1 n
  real = labels < original.CHARACTERS + 1
  picked = np.where(real, labels, 0)[..., None]  # b 1 n 1
  log_share = np.asarray(jax.nn.log_softmax(logits))
  picked = np.broadcast_to(picked, (*logits.shape[:-1], 1))
  return -np.take_along_axis(log_share, picked, -1)[..., 0] * real
