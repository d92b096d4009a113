"""Same patterns, offsets and flips: the patches that the published ColorMAE shows."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.noise import Crops, cut_windows
from mdm.masks.scores import count_kept, split_by_score

GRID, RATIO = 14, 0.75


@pytest.fixture(scope="module")
def stored():
  with np.load(pathlib.Path(__file__).with_name("colormae.npz")) as file:
    return dict(file)


def crops(stored, **changes):
  found = {name: stored[f"crop/{name}"] for name in Crops._fields} | changes
  kinds = {"b": bool, "u": np.int32}
  return Crops(**{k: jnp.asarray(v, kinds[v.dtype.kind]) for k, v in found.items()})


def split(stored, **changes):
  windows = cut_windows(
    jnp.asarray(stored["input/patterns"]), crops(stored, **changes), GRID, GRID
  )
  kept = count_kept(GRID * GRID, RATIO, rounding="mae")
  return split_by_score(-windows, kept)


def test_the_same_patches_stay_visible(stored):
  got = split(stored)
  np.testing.assert_array_equal(got.mask, stored["output/mask"])
  np.testing.assert_array_equal(got.keep, np.sort(stored["output/keep"], axis=1))


@pytest.mark.parametrize("part", ["flips_rows", "flips_columns"])
def test_each_flip_makes_a_difference_in_the_stored_masks(stored, part):
  turned = split(stored, **{part: ~stored[f"crop/{part}"]})
  assert (np.asarray(turned.mask) != stored["output/mask"]).any(axis=1).all()


def test_offsets_and_patterns_of_the_original_differ_within_the_numbers(stored):
  for part in ("pattern", "top", "left", "flips_rows", "flips_columns"):
    assert len(np.unique(stored[f"crop/{part}"])) > 1
