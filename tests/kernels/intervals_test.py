"""Each kind of interval against its mask, spelled out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import intervals as iv

M = 9
QUERY, KEY = np.mgrid[:M, :M]


def mask(intervals):
  """b g i j."""
  return np.asarray(iv.dense_mask(intervals, jnp.arange(M)))


@pytest.mark.parametrize(
  ("intervals", "expected"),
  [
    (iv.all_intervals(M, M), np.ones((M, M), bool)),
    (iv.causal_intervals(M), KEY <= QUERY),
    (iv.window_intervals(M, 3), (KEY <= QUERY) & (QUERY < KEY + 3)),
    (iv.window_intervals(M, 2 * M), KEY <= QUERY),
    (iv.prefix_intervals(M, jnp.asarray([4])), (KEY <= QUERY) | (KEY < 4)),
    (iv.valid_intervals(jnp.arange(M)[None] < 6, M), KEY < 6),
  ],
  ids=["all", "causal", "window", "wide window", "prefix", "valid"],
)
def test_intervals_are_the_mask_of_their_name(intervals, expected):
  np.testing.assert_array_equal(mask(intervals)[0, 0], expected)


def test_segments_see_themselves_only():
  segments = np.asarray([[2, 2, 2, 0, 0, 5, 5, 5, 5], [1] * 9])
  found = mask(iv.segment_intervals(jnp.asarray(segments)))[:, 0]
  np.testing.assert_array_equal(found, segments[:, :, None] == segments[:, None])


def test_intersections_allow_what_all_allow():
  parts = (
    iv.window_intervals(M, 4),
    iv.valid_intervals(jnp.arange(M)[None] % 3 > 0, M),
    iv.segment_intervals(jnp.asarray([[0] * 5 + [1] * 4])),
  )
  expected = np.logical_and.reduce([mask(part) for part in parts])
  np.testing.assert_array_equal(mask(iv.intersect(*parts)), expected)


def test_a_segment_in_pieces_is_refused():
  with pytest.raises(ValueError, match="segment 1 of row 1 is in several pieces; pack"):
    iv.segment_intervals(jnp.asarray([[0, 0, 1], [1, 0, 1]]))


def test_segments_that_are_not_known_yet_are_taken_on_trust():
  jax.eval_shape(iv.segment_intervals, jax.ShapeDtypeStruct((1, 4), jnp.int32))


def test_a_window_of_nothing_and_positions_beyond_int32_are_refused():
  with pytest.raises(ValueError, match="width = 0 lets a query see nothing"):
    iv.window_intervals(M, 0)
  with pytest.raises(ValueError, match="2147483648 positions do not fit int32"):
    iv.check_length(2**31)
