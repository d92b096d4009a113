import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import mix

KEYS = jax.random.split(jax.random.key(0), 200)


def image_batch(count=4, shape=(8, 8, 1)):
  """Image k is k everywhere, so a mixed pixel tells its parts."""
  values = jnp.arange(count, dtype=jnp.float32)[:, None, None, None]
  return jnp.broadcast_to(values, (count, *shape))


TARGET = jnp.eye(4)
erase = jax.jit(mix.random_erasing, static_argnames="rate")


@functools.cache
def many(mixup, cutmix):
  """Mixes of one batch under 200 keys: images [200 b y x c], targets [200 b m]."""

  def one(key):
    return mix.mix_batch(key, image_batch(), TARGET, mixup=mixup, cutmix=cutmix)

  return tuple(np.asarray(part) for part in jax.jit(jax.vmap(one))(KEYS))


@pytest.mark.parametrize("settings", [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_a_label_has_the_share_of_pixels_that_its_image_has(settings):
  image, target = many(*settings)
  # Image 0 is mixed with image 3, so its mean tells the other's share.
  other = image[:, 0].mean(axis=(1, 2, 3)) / 3
  assert np.abs(target[:, 0, 3] - other).max() < 1e-5
  assert np.abs(target[:, 0, 0] - (1 - other)).max() < 1e-5
  assert np.abs(target.sum(axis=-1) - 1).max() < 1e-6


def test_mixup_is_even_and_cutmix_takes_a_box_whole():
  plain, _ = many(0.8, 0.0)
  assert np.ptp(plain[:, 0], axis=(1, 2, 3)).max() < 1e-6
  cut = many(0.0, 1.0)[0][:, 0, :, :, 0] == 3
  for box in cut:
    rows, columns = box.any(axis=1), box.any(axis=0)
    assert (box == (rows[:, None] & columns[None])).all()
    for side in (rows, columns):
      assert np.count_nonzero(np.diff(np.pad(side, 1).astype(int))) in (0, 2)


def test_both_mixes_take_turns():
  image, _ = many(0.8, 1.0)
  is_cut = (np.ptp(image[:, 0], axis=(1, 2, 3)) > 0) | (image[:, 0] == 0).all((1, 2, 3))
  assert 65 < is_cut.sum() < 135  # 100 and 5 standard deviations of 7


def test_shares_follow_beta():
  _, target = many(0.8, 0.0)
  share = target[:, 0, 0]
  deviation = (1 / (4 * (2 * 0.8 + 1))) ** 0.5  # of Beta(a, a): 1 / (4 (2 a + 1))
  assert abs(share.mean() - 0.5) < 5 * deviation / 200**0.5
  assert abs(share.std() - deviation) < 0.06


def test_the_area_that_is_cut_is_uniform_before_it_is_clipped():
  weights = np.asarray(jax.vmap(lambda key: mix.cut_weights(key, (64, 64), 1.0))(KEYS))
  cut = 1 - weights.mean(axis=(1, 2))
  # A box of area s around a uniform place keeps (1 - sqrt(s) / 4)^2 of it on average;
  # over uniform s that is 1/2 - 1/5 + 1/48 = 0.321.
  assert abs(cut.mean() - 0.321) < 5 * cut.std() / 200**0.5


def test_nothing_is_mixed_where_nothing_is_asked_for():
  for options in ({"mixup": 0.0, "cutmix": 0.0}, {"rate": 0.0}):
    change = jax.jit(functools.partial(mix.mix_batch, **options))
    image, target = change(KEYS[0], image_batch(), TARGET)
    assert (image == image_batch()).all() and (target == TARGET).all()


def test_smoothing_spreads_a_share_over_all_classes():
  found = np.asarray(mix.soft_labels(jnp.array([1, 3]), 4, smoothing=0.2))
  assert np.abs(found[0] - [0.05, 0.85, 0.05, 0.05]).max() < 1e-6
  assert (np.asarray(mix.soft_labels(jnp.array([1]), 4)) == [[0, 1, 0, 0]]).all()


def test_a_part_of_some_images_is_erased_by_noise():
  image = jnp.full((200, 16, 16, 1), 9.0)
  found = np.asarray(erase(KEYS, image, rate=0.25))[..., 0]
  erased = found != 9
  hit = erased.any(axis=(1, 2))
  assert 20 < hit.sum() < 80  # 50 and 5 standard deviations of 6
  for box in erased[hit]:
    share = box.mean()
    assert 0.01 < share < 0.37
    assert (box == (box.any(axis=1)[:, None] & box.any(axis=0)[None])).all()
  noise = found[erased]
  assert abs(noise.mean()) < 5 / noise.size**0.5 and abs(noise.std() - 1) < 0.05


def test_erasing_depends_on_an_examples_key_alone():
  image = jnp.zeros((8, 16, 16, 1))
  found = np.asarray(erase(KEYS[:8], image, rate=1.0))
  assert (found[::-1] == np.asarray(erase(KEYS[7::-1], image, rate=1.0))).all()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"mixup": -1.0}, r"mixup = -1\.0 is negative"),
    ({"switch": 2.0}, r"switch = 2\.0 lies outside \[0, 1\]"),
  ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    mix.mix_batch(KEYS[0], image_batch(), TARGET, **options)
  with pytest.raises(ValueError, match=r"rate = 25\.0 lies outside \[0, 1\]"):
    mix.random_erasing(KEYS[:4], image_batch(), rate=25.0)
