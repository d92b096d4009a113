"""Decoders of patches: any order of tokens, and what only hidden patches are asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.scores import split_by_score
from mdm.nn.patch_decoders import LinearDecoder, MaskedDecoder, TwinDecoder
from mdm.nn.patches import take_tokens
from mdm.nn.positions import grid_sincos
from mdm.nn.transformer import Transformer

GRID = (2, 3)
N = 6


def run(module, variables, *args, **kwargs):
  return jax.jit(lambda v: module.apply(v, *args, **kwargs))(variables)


@pytest.fixture(scope="module")
def split():
  score = jax.random.uniform(jax.random.key(3), (2, N))
  return split_by_score(score, 2)


@pytest.fixture(scope="module")
def decoder(variables_of, split):
  module = MaskedDecoder(width=16, depth=1, heads=2)
  tokens = jax.random.normal(jax.random.key(5), (2, 3, 8))
  return module, variables_of(module, tokens, split, GRID, 7), tokens


def test_predictions_are_those_of_tokens_put_in_raster_order(decoder, split):
  """The published order: un-shuffle, add places, predict all, drop the class."""
  module, variables, tokens = decoder
  p = variables["params"]
  x = tokens @ p["embed"]["kernel"] + p["embed"]["bias"]
  hidden = jnp.broadcast_to(p["mask_embedding"], (2, 4, 16))
  raster = take_tokens(jnp.concatenate([x[:, 1:], hidden], 1), split.restore)
  raster = jnp.concatenate([x[:, :1], raster + grid_sincos(*GRID, 16)], 1)
  stack = {"params": p["stack"]}
  y = run(Transformer(depth=1, heads=2), stack, raster, train=False)[:, 1:]
  y = y @ p["head"]["kernel"] + p["head"]["bias"]
  of_all = run(module, variables, tokens, split, GRID, 7, of_all=True)
  np.testing.assert_allclose(of_all, y, atol=1e-5)
  hidden_only = run(module, variables, tokens, split, GRID, 7)
  np.testing.assert_allclose(hidden_only, take_tokens(y, split.hide), atol=1e-5)


def test_the_decoder_takes_tokens_without_a_class_token(decoder, split):
  module, variables, tokens = decoder
  found = run(module, variables, tokens[:, 1:], split, GRID, 7)
  assert found.shape == (2, 4, 7)


def test_a_decoder_with_nothing_hidden_predicts_every_patch_in_raster_order(decoder):
  module, variables, _ = decoder
  tokens = jax.random.normal(jax.random.key(6), (2, N, 8))
  whole = split_by_score(jnp.zeros((2, N)), N)
  of_all = run(module, variables, tokens, whole, GRID, 7, of_all=True)
  assert of_all.shape == (2, N, 7)
  assert run(module, variables, tokens, whole, GRID, 7).shape == (2, 0, 7)


def test_the_first_of_twins_is_the_plain_decoder_and_the_second_one_more(
  variables_of, decoder, split
):
  _, _, tokens = decoder
  twins = TwinDecoder(width=16, depth=1, heads=2)
  variables = variables_of(twins, tokens, split, GRID, 7)
  predicted, losses = run(twins, variables, tokens, split, GRID, 7)
  own = ("embed", "mask_embedding", "stack", "head")
  first = {"params": {name: variables["params"][name] for name in own}}
  second = {"params": first["params"] | {
    "stack": variables["params"]["loss_stack"],
    "head": variables["params"]["loss_head"],
  }}  # fmt: skip
  plain = MaskedDecoder(width=16, depth=1, heads=2)
  np.testing.assert_allclose(
    predicted, run(plain, first, tokens, split, GRID, 7), atol=1e-6
  )
  np.testing.assert_allclose(
    losses, run(plain, second, tokens, split, GRID, 7).mean(-1), atol=1e-6
  )


def test_a_linear_decoder_reads_each_patch_by_itself(variables_of, split):
  module = LinearDecoder()
  tokens = jax.random.normal(jax.random.key(7), (2, 1 + N, 8))  # a class token first
  variables = variables_of(module, tokens, split, GRID, 7)
  head = variables["params"]["head"]
  of_all = tokens[:, 1:] @ head["kernel"] + head["bias"]
  found = run(module, variables, tokens, split, GRID, 7)
  np.testing.assert_allclose(found, take_tokens(of_all, split.hide), atol=1e-6)
  found = run(module, variables, tokens, split, GRID, 7, of_all=True)
  np.testing.assert_allclose(found, of_all, atol=1e-6)
