"""The small network of recall: what it sees, where it speaks, how it starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixing import OneHead

from mdm.nn.zoology import BaseConv, Zoology

V, N = 11, 8
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, V, (2, N)))


def network(**settings):
  return Zoology(V, OneHead(), **{"width": 16} | settings)


@functools.cache
def start(**settings):
  net = network(**settings)
  return net, jax.jit(net.init)(jax.random.key(0), TOKENS)


def test_a_convolution_equals_its_sum_written_out():
  x = jax.random.normal(jax.random.key(1), (2, 5, 4))
  conv = BaseConv()
  values = conv.init(jax.random.key(0), x)
  found, params = conv.apply(values, x), values["params"]
  filters, bias = (np.asarray(params[k].unbox()) for k in ("filters", "bias"))
  kernel, shift = (np.asarray(params["linear"][k].unbox()) for k in ("kernel", "bias"))
  x = np.asarray(x)
  for i in range(5):
    seen = sum(filters[k] * x[:, i - 2 + k] for k in range(3) if i - 2 + k >= 0) + bias
    expected = seen * (x[:, i] @ kernel + shift) + x[:, i]
    np.testing.assert_allclose(found[:, i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", ["both", "alternate"])
def test_no_token_sees_a_later_one(pattern):
  net, values = start(pattern=pattern)
  apply = jax.jit(net.apply)
  changed = TOKENS.at[:, 5].set((TOKENS[:, 5] + 1) % V)
  before, after = apply(values, TOKENS), apply(values, changed)
  assert (before[:, :5] == after[:, :5]).all()
  assert (before[:, 5:] != after[:, 5:]).any(axis=-1).all()


def test_logits_at_places_are_those_of_all_positions():
  net, values = start()
  places = jnp.array([[6, 1, 3], [0, 7, 7]])
  whole = net.apply(values, TOKENS)
  part = net.apply(values, TOKENS, places=places)
  expected = jnp.take_along_axis(whole, places[..., None], axis=1)
  np.testing.assert_allclose(part, expected, atol=1e-6)
  assert part.shape == (2, 3, V)


def layers_of(values):
  found = values["params"]
  return {k: set(found[k]) for k in sorted(found) if k.startswith("block")}


def test_every_layer_convolves_and_mixes_with_parameters_of_its_own():
  own = {"norm_mixer", "conv", "mixer"}
  assert layers_of(start()[1]) == {"block_0": own, "block_1": own}


def test_alternating_layers_convolve_or_mix():
  found = layers_of(start(pattern="alternate")[1])
  assert found == {
    "block_0": {"norm_mixer", "conv"},
    "block_1": {"norm_mixer", "mixer"},
  }


def test_options_add_their_parts():
  _, values = start(taps=0, mlp_ratio=4.0, max_length=9)
  assert layers_of(values)["block_0"] == {"norm_mixer", "mixer", "mlp", "norm_mlp"}
  assert values["params"]["position"].unbox().shape == (9, 16)


def test_parameters_start_as_published():
  _, values = start(width=128)
  params = values["params"]
  block = params["block_1"]

  def spread(leaf):
    return float(np.std(leaf.unbox()))

  assert spread(params["embedding"]) == pytest.approx(0.02, rel=0.1)
  assert spread(block["conv"]["linear"]["kernel"]) == pytest.approx(0.02, rel=0.1)
  assert spread(block["mixer"]["qkv"]["kernel"]) == pytest.approx(0.02, rel=0.1)
  assert spread(block["mixer"]["out"]["kernel"]) == pytest.approx(0.01, rel=0.1)
  filters = np.abs(block["conv"]["filters"].unbox())
  assert filters.max() <= 3**-0.5 and filters.max() > 0.55


def test_dropout_acts_in_training_only():
  net, values = start(embed_dropout=0.5)
  draw = {"dropout": jax.random.key(3)}
  still = net.apply(values, TOKENS, rngs=draw)
  assert (still == net.apply(values, TOKENS)).all()
  assert (still != net.apply(values, TOKENS, train=True, rngs=draw)).any()


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"pattern": "mixed"}, "pattern"),
    ({"max_length": 4}, "8 tokens exceed max_length"),
  ],
)
def test_what_cannot_be_is_refused(settings, words):
  with pytest.raises(ValueError, match=words):
    network(**settings).init(jax.random.key(0), TOKENS)
