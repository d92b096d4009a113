"""The method and its decoders give the numbers of the original, stored in tests/parity.

Same weights, same image. Losses agree to 1e-5 relative, confidences to 1e-5: float32
sums in another order. Tokens agree exactly, up to and with the first EOS.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import mdiff4str as original

from mdm.methods.diffusion.mdiff4str import MDiff4STR, Noised
from mdm.nn.svtr import SVTR
from mdm.nn.transformer import CrossDecoder

PAD = original.CHARACTERS + 2


@pytest.fixture(scope="module")
def stored():
  return original.numbers()


@functools.cache
def make():
  return MDiff4STR(
    encoder=SVTR(mixers=original.MIXERS, dims=original.DIMS, heads=original.HEADS),
    decoder=CrossDecoder(depth=original.LAYERS, heads=original.DECODER_HEADS),
    length_norm="released",
  )


@pytest.fixture(scope="module")
def variables(stored):
  encoder = original.encoder_variables(stored)
  params = original.decoder_params(stored)
  params["classifier"] = params.pop("classify")
  return {
    "params": params | {"encoder": encoder["params"]},
    "batch_stats": {"encoder": encoder["batch_stats"]},
  }


def test_both_losses_equal_the_original(stored, variables):
  batch = {
    "image": stored["input/image"],
    "tokens": stored["input/labels"],
    "valid": stored["input/labels"] != PAD,
  }
  noised = Noised(
    hidden=jnp.asarray(stored["input/noisy"]),
    mask=jnp.asarray(stored["input/masked"]),
    replaced=jnp.asarray(stored["input/replaced"]),
    wrong=jnp.asarray(stored["input/replaced"] != stored["input/labels"][:, None]),
  )

  @jax.jit
  def run(values):
    method = make().bind(values)
    return method.losses(batch, method.encode(batch), noised, train=False)

  means = run(variables)
  for ours, theirs in (("denoise", "denoise"), ("replacement", "replace")):
    np.testing.assert_allclose(
      means[f"loss/{ours}"].value(), stored[f"output/loss_{theirs}"], rtol=1e-5
    )


@pytest.mark.parametrize(
  ("decoder", "name"),
  [
    ("pd", "parallel"),
    ("ar", "autoregressive"),
    ("lc", "low_confidence"),
    ("blc", "block_low_confidence"),
  ],
)
def test_every_decoder_reads_what_the_original_reads(stored, variables, decoder, name):
  image = {"image": stored["input/image"]}
  found = jax.jit(
    lambda values: make().apply(values, image, decoder=decoder, method="predict")
  )(variables)
  tokens = stored[f"decode/{name}_tokens"]
  length = tokens.shape[1]
  valid = np.asarray(found.valid)
  assert not valid[:, length:].any()
  assert (np.asarray(found.tokens)[:, :length] == tokens)[valid[:, :length]].all()
  assert ((tokens == 0).argmax(1) == valid.sum(1) - 1).all()
  np.testing.assert_allclose(
    np.asarray(found.confidence)[:, :length][valid[:, :length]],
    stored[f"decode/{name}_confidence"][valid[:, :length]],
    atol=1e-5,
  )
