"""What a feed says about itself is checked against the method."""

import pytest
from toys import masked

from mdm.training.feed import check_facts


def test_a_setting_that_contradicts_the_data_is_refused():
  method = masked.ToyMasked(masked.Mixer(), vocab=9)
  with pytest.raises(
    ValueError, match=r"method\.vocab = 9, but .* \(--set method\.vocab=16"
  ):
    check_facts(method, {"vocab": 16})


def test_facts_that_a_method_does_not_know_are_passed_over():
  check_facts(masked.ToyMasked(masked.Mixer()), {"vocab": 16, "language": "en"})
