"""Features of a split: every example once, in order, with its own label."""

import numpy as np
import pytest
from toys.bright import Looker, Pictures
from toys.masked import Mixer, ToyMasked

from mdm.evaluation.features import Encoder


def test_features_come_in_the_order_of_the_records_each_once():
  pictures = Pictures(count=23)
  for batch in (5, 23, 40):
    found = Encoder(Looker(), "mean").features({}, pictures, batch=batch)
    np.testing.assert_array_equal(found.vectors, pictures.images.reshape(23, -1))
    np.testing.assert_array_equal(found.labels, pictures.labels)


def test_pooling_is_left_to_the_method():
  found = Encoder(Looker(), "cls").features({}, Pictures(), batch=10)
  np.testing.assert_array_equal(found.vectors, Pictures().images[:, 0, :, 0])


def test_a_limit_leaves_the_rest_out():
  found = Encoder(Looker(), "mean").features({}, Pictures(), batch=10, limit=13)
  np.testing.assert_array_equal(found.labels, Pictures().labels[:13])


def test_features_that_are_not_finite_are_an_error():
  with pytest.raises(ValueError, match="not all finite"):
    Encoder(Looker(gain=float("inf")), "mean").features({}, Pictures(), batch=10)


def test_a_method_without_features_is_refused():
  with pytest.raises(ValueError, match="cannot give features; load"):
    Encoder(ToyMasked(Mixer()), "mean")
