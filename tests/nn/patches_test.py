"""Patches against loops over pixels and the formulas of the published codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.patches import (
  grid_of,
  patchify,
  standardise,
  standardise_channels,
  take_tokens,
  unpatchify,
)


def noise(shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def test_a_patch_lists_its_pixels_by_row_column_and_channel():
  image = np.asarray(noise((2, 4, 6, 3)))
  patches = patchify(jnp.asarray(image), 2)
  assert patches.shape == (2, 6, 12)
  by_hand = [
    [
      image[i, 2 * r + y, 2 * c + x, k]
      for y in range(2)
      for x in range(2)
      for k in range(3)
    ]
    for i in range(2)
    for r in range(2)
    for c in range(3)
  ]
  np.testing.assert_array_equal(patches.reshape(12, 12), by_hand)


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (2, 6, 9, 3)])
def test_putting_patches_together_undoes_cutting(shape):
  image = noise(shape)
  cut = patchify(image, 3 if shape[1] == 6 else 4)
  grid = (2, 3) if shape[1] == 6 else (2, 2)
  np.testing.assert_array_equal(unpatchify(cut, grid, shape[-1]), image)


@pytest.mark.parametrize("patch", [0, 3, 5])
def test_patches_that_do_not_tile_the_image_are_refused(patch):
  with pytest.raises(ValueError, match=rf"patch = {patch} does not tile"):
    grid_of(8, 8, patch)


@pytest.mark.parametrize(("grid", "channels"), [((2, 3), 3), ((2, 2), 2), ((3, 2), 1)])
def test_a_wrong_grid_or_number_of_channels_is_refused(grid, channels):
  with pytest.raises(ValueError, match="no image of"):
    unpatchify(noise((1, 4, 12)), grid, channels)


def test_a_standardised_patch_has_mean_0_and_unbiased_deviation_1():
  patches = 40 * noise((2, 5, 48)) + 7
  found = np.asarray(standardise(patches))
  np.testing.assert_allclose(found.mean(-1), 0, atol=1e-5)
  np.testing.assert_allclose(found.std(-1, ddof=1), 1, atol=1e-5)


def test_a_constant_patch_gives_zeros_and_finite_gradients():
  flat = jnp.full((1, 1, 12), 0.3)
  np.testing.assert_allclose(standardise(flat), 0, atol=1e-4)
  assert np.isfinite(jax.grad(lambda x: standardise(x).sum())(flat)).all()


def test_the_epsilon_lies_inside_of_the_root():
  patch = jnp.asarray([[[0.0, 1e-3]]])  # variance 5e-7, far below the epsilon
  np.testing.assert_allclose(
    standardise(patch)[0, 0], np.array([-5e-4, 5e-4]) / np.sqrt(1.5e-6), rtol=1e-4
  )


def test_channels_are_standardised_one_by_one_with_the_epsilon_outside():
  patches = noise((2, 3, 12)) * jnp.tile(jnp.array([1.0, 10.0, 0.0]), 4)
  found = np.asarray(standardise_channels(patches, 3)).reshape(2, 3, 4, 3)
  pixels = np.asarray(patches).reshape(2, 3, 4, 3)
  mean, deviation = pixels.mean(2, keepdims=True), pixels.std(2, keepdims=True, ddof=1)
  np.testing.assert_allclose(found, (pixels - mean) / (deviation + 1e-6), atol=1e-5)
  assert (found[..., 2] == 0).all()


def test_both_gathers_give_the_very_same_numbers_and_gradients():
  x, index = noise((3, 7, 5)), jnp.asarray([[6, 0], [3, 3], [1, 2]])

  def run(gather):
    return jax.value_and_grad(
      lambda x: (take_tokens(x, index, gather=gather) ** 3).sum()
    )(x)

  (a, da), (b, db) = run("take"), run("onehot")
  assert a == b
  np.testing.assert_array_equal(da, db)


@pytest.mark.parametrize("gather", ["take", "onehot"])
def test_one_table_serves_all_rows(gather):
  table, index = noise((1, 7, 5)), jnp.asarray([[6, 0], [3, 3]])
  found = take_tokens(table, index, gather=gather)
  np.testing.assert_array_equal(found, np.asarray(table)[0][np.asarray(index)])


def test_an_unknown_gather_is_refused_with_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'take'"):
    take_tokens(noise((1, 2, 2)), jnp.zeros((1, 1), jnp.int32), gather="tak")
