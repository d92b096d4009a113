import numpy as np
import pytest

from mdm.data.augment import augment, uniforms

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 24, 1), np.uint8)
INDEX = np.arange(100, 106)


def test_an_example_changes_alike_in_any_batch():
  whole = augment(IMAGES, INDEX, seed=3, strength=0.5)
  order = np.array([4, 1, 5])
  assert (
    augment(IMAGES[order], INDEX[order], seed=3, strength=0.5) == whole[order]
  ).all()


def test_changes_depend_on_seed_and_place():
  one = augment(IMAGES, INDEX, seed=3, strength=0.5)
  assert (augment(IMAGES, INDEX, seed=4, strength=0.5) != one).any()
  assert (augment(IMAGES, INDEX + 6, seed=3, strength=0.5) != one).any()


def test_no_strength_changes_nothing_and_the_source_is_never_written():
  before = IMAGES.copy()
  assert augment(IMAGES, INDEX, seed=3, strength=0.0) is IMAGES
  augment(IMAGES, INDEX, seed=3, strength=1.0)
  assert (before == IMAGES).all()


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_changed_image_stays_like_the_old_up_to_its_sign(strength):
  ramp = np.tile(np.linspace(40, 215, 96).astype(np.uint8), (64, 32, 1))[..., None]
  changed = augment(ramp, np.arange(64), seed=0, strength=strength)
  for old, new in zip(ramp, changed, strict=True):
    assert abs(np.corrcoef(old.ravel(), new.ravel())[0, 1]) > 0.9


def test_uniforms_are_uniform_and_unrelated():
  draw = uniforms(1, np.arange(20_000), 4)
  assert draw.min() >= 0
  assert draw.max() < 1
  # 20,000 draws: deviation of the mean 0.002, of a correlation 0.007; five of each.
  assert np.abs(draw.mean(axis=0) - 0.5).max() < 0.01
  assert np.abs(np.corrcoef(draw.T) - np.eye(4)).max() < 0.035
  assert abs(np.corrcoef(draw[:-1, 0], draw[1:, 0])[0, 1]) < 0.035
