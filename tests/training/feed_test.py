"""What a feed says about itself is checked against the method."""

import flax.linen as nn
import pytest
from toys import masked

from mdm.methods.base import Method
from mdm.training.feed import check_facts


class Vocabulary(nn.Module):
  """A network that has so many ids."""

  vocab_size: int


def test_a_setting_that_contradicts_the_data_is_refused():
  method = masked.ToyMasked(masked.Mixer(), vocab=9)
  with pytest.raises(
    ValueError, match=r"method\.vocab = 9, but .* \(--set method\.vocab=16"
  ):
    check_facts(method, {"vocab": 16})


class Speaker(Method):
  """A method that says what its network says."""

  network: Vocabulary

  @property
  def vocab_size(self):
    return self.network.vocab_size


def test_a_property_that_contradicts_the_data_is_set_where_it_comes_from():
  setting = r"model\.network\.vocab_size"
  with pytest.raises(ValueError, match=rf"{setting} = 5, but .*--set {setting}=27"):
    check_facts(Speaker(Vocabulary(5)), {"vocab_size": 27})
  check_facts(Speaker(Vocabulary(27)), {"vocab_size": 27})


def test_facts_that_a_method_does_not_know_are_passed_over():
  check_facts(masked.ToyMasked(masked.Mixer()), {"vocab": 16, "language": "en"})
