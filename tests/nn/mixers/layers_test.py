"""Mixers for the layers of a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixing import OneHead

from mdm.nn.mixers.dense import DenseAttention
from mdm.nn.mixers.layers import layer_mixer


class Heads(nn.Module):
  heads: int = 3
  head_width: int | None = None


def test_a_mixer_gets_what_it_knows_of_the_network():
  found = layer_mixer(OneHead(), 12, out_scale=0.5, unknown=1)
  assert found.out_scale == 0.5 and found.parent is None


def test_a_heads_width_follows_from_the_networks_unless_it_is_given():
  assert layer_mixer(Heads(), 12).head_width == 4
  assert layer_mixer(Heads(head_width=7), 13).head_width == 7


def test_heads_that_do_not_divide_are_refused():
  with pytest.raises(ValueError, match="heads = 3 must divide width = 10"):
    layer_mixer(Heads(), 10)


def test_a_mixers_output_map_starts_smaller_by_its_factor():
  x = jnp.zeros((1, 3, 12))
  mixer = DenseAttention(heads=3)
  whole, part = (
    layer_mixer(mixer, 12, out_scale=scale).init(jax.random.key(0), x)["params"]
    for scale in (1.0, 0.25)
  )
  for name in ("query", "out"):
    factor = 0.25 if name == "out" else 1.0
    a, b = (p[name]["kernel"].unbox() for p in (whole, part))
    np.testing.assert_allclose(b, factor * a, rtol=1e-6)
