import numpy as np
import pytest

from mdm.data.rendering.grounds import clouds, draw_ground, low_quality


def test_textures_stay_in_range_and_vary():
  kinds = [draw_ground(np.random.default_rng(s), 32, 96, 1.0) for s in range(60)]
  assert all(g.shape == (32, 96) and np.abs(g).max() <= 1.01 for g in kinds)
  assert sum(g.std() > 0 for g in kinds) > 40


def test_no_strength_is_a_flat_ground_and_an_untouched_image():
  rng = np.random.default_rng(0)
  assert not draw_ground(rng, 32, 96, 0.0).any()
  image = np.full((32, 96, 1), 100, np.float32)
  assert low_quality(rng, image, 0.0) is image


def test_clouds_are_smooth():
  plane = clouds(np.random.default_rng(0), 64, 64, cells=4)
  steps = np.abs(np.diff(plane, axis=1))
  assert steps.max() < 0.25 * np.ptp(plane)


@pytest.mark.parametrize("channels", [1, 3])
def test_low_quality_keeps_shape_and_mean(channels):
  image = np.full((32, 96, channels), 120, np.float32)
  for seed in range(40):
    spoilt = low_quality(np.random.default_rng(seed), image, 1.0)
    assert spoilt.shape == image.shape
    assert abs(spoilt.mean() - 120) < 3  # noise of 22 over 3,072 pixels: 0.4
