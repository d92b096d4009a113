"""Mixers for the layers of a network."""

import flax.linen as nn
import pytest
from toys.mixing import OneHead

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
