import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mdm.nn import augment
from mdm.nn.augment import Boxes

crop_and_resize = jax.jit(augment.crop_and_resize, static_argnames=("size", "method"))
draw_boxes = jax.jit(augment.draw_boxes, static_argnames=("shape", "scale", "ratio"))
color_jitter = jax.jit(
  augment.color_jitter, static_argnames=("brightness", "contrast", "saturation")
)
KEYS = jax.random.split(jax.random.key(0), 64)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def images(count=64, shape=(12, 10, 3), seed=0):
  """Noise in [0, 1]."""
  return jnp.asarray(np.random.default_rng(seed).random((count, *shape), np.float32))


def one_box(*numbers):
  """A part of one image."""
  return Boxes(*(jnp.array([n], jnp.int32) for n in numbers))


@pytest.fixture(scope="module")
def boxes():
  """Parts of 64 images of 12 x 10."""
  return draw_boxes(KEYS, shape=(12, 10), scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3))


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
  ("box", "size"),
  [((0, 0, 40, 30), (16, 16)), ((3, 5, 21, 17), (8, 24)), ((7, 2, 5, 9), (16, 16))],
)
def test_a_part_is_scaled_as_pillow_scales_a_crop(method, box, size):
  image = np.asarray(images(1, (40, 30, 3)))
  found = np.asarray(
    crop_and_resize(jnp.asarray(image), one_box(*box), size, method=method)
  )[0]
  top, left, rows, columns = box
  part = image[0, top : top + rows, left : left + columns]
  planes = [
    Image.fromarray(np.ascontiguousarray(part[..., k])).resize(
      size[::-1], FILTERS[method]
    )
    for k in range(3)
  ]
  wanted = np.clip(np.stack([np.asarray(p) for p in planes], axis=-1), 0, 1)
  assert np.abs(found - wanted).max() < 2e-6  # both in float32, sums of 40 terms


def test_a_part_of_bytes_is_scaled_as_pillow_scales_it_within_its_rounding():
  image = (255 * np.asarray(images(1, (40, 30, 3)))).astype(np.uint8)
  found = crop_and_resize(
    augment.normalise(jnp.asarray(image)), one_box(3, 5, 30, 20), size=(16, 16)
  )
  part = Image.fromarray(image[0, 3:33, 5:25]).resize((16, 16), FILTERS["bicubic"])
  # Pillow rounds between its passes (1/2, times at most 1.3) and at the end (1/2).
  assert np.abs(np.asarray(found)[0] * 255 - np.asarray(part)).max() < 1.5


def test_the_whole_image_at_its_own_size_is_left_as_it_is():
  image = images(2)
  whole = Boxes(*(jnp.full(2, n, jnp.int32) for n in (0, 0, 12, 10)))
  assert (
    np.abs(np.asarray(crop_and_resize(image, whole, size=(12, 10))) - image).max()
    < 1e-6
  )


def test_nothing_outside_the_part_has_an_influence():
  image = jnp.asarray(images(1))
  slope = jax.jit(
    jax.grad(lambda x: crop_and_resize(x, one_box(2, 3, 6, 4), size=(5, 7)).sum())
  )
  touched = np.asarray(slope(image))[0].any(axis=-1)
  assert touched[2:8, 3:7].all() and touched.sum() == 6 * 4


def test_parts_lie_in_the_image_and_have_the_shares_and_ratios_asked_for(boxes):
  top, left, rows, columns = (np.asarray(part) for part in boxes)
  assert (top >= 0).all() and (left >= 0).all()
  assert (top + rows <= 12).all() and (left + columns <= 10).all()
  share, ratio = rows * columns / 120, columns / rows
  # Rounding a side of 5 by 1/2 is a tenth of it.
  assert share.min() > 0.15 and share.max() > 0.8 and share.min() < 0.4
  assert ratio.min() > 0.75 * 0.85 and ratio.max() < 4 / 3 * 1.2
  assert len({*zip(top.tolist(), left.tolist(), strict=True)}) > 20


def test_shares_are_uniform_and_ratios_in_their_logarithm():
  keys = jax.random.split(jax.random.key(1), 4_000)
  found = draw_boxes(keys, shape=(1_000, 1_000), scale=(0.1, 0.3), ratio=(0.5, 2.0))
  rows, columns = np.asarray(found.rows), np.asarray(found.columns)
  share, ratio = rows * columns / 1e6, np.log(columns / rows)
  for values, low, high in ((share, 0.1, 0.3), (ratio, np.log(0.5), np.log(2.0))):
    counts = np.histogram(values, 4, (low, high))[0]
    assert np.abs(counts - 1_000).max() < 5 * (1_000 * 3 / 4) ** 0.5
  tops = np.asarray(found.top) / (1_000 - rows)
  assert abs(tops.mean() - 0.5) < 5 * (1 / 12 / 4_000) ** 0.5


def test_where_no_draw_fits_the_largest_middle_part_is_taken():
  found = draw_boxes(KEYS[:3], shape=(4, 40), scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3))
  assert np.asarray(found.rows).tolist() == [4] * 3
  assert np.asarray(found.columns).tolist() == [5] * 3  # 4 x 4/3, rounded
  assert set(np.asarray(found.left).tolist()) <= {17, 18}


def all_changes(keys, image):
  """Every augmentation of a batch."""
  return {
    "crop": augment.random_resized_crop(keys, image, size=(6, 8)),
    "flip": augment.random_flip(keys, image),
    "pad": augment.pad_crop(keys, image, 2),
    "color": color_jitter(keys, image),
  }


def test_what_happens_to_an_example_depends_on_its_key_alone():
  image, order = images(8), np.random.default_rng(0).permutation(8)
  change = jax.jit(all_changes)
  straight, shuffled = change(KEYS[:8], image), change(KEYS[:8][order], image[order])
  for name, found in straight.items():
    assert (np.asarray(found)[order] == np.asarray(shuffled[name])).all(), name
    assert len({row.tobytes() for row in np.asarray(found)}) == 8


def test_about_half_of_the_images_are_mirrored_and_the_rest_left():
  image = images()
  found = np.asarray(augment.random_flip(KEYS, image))
  image = np.asarray(image)
  mirrored = (found == image[:, :, ::-1]).all(axis=(1, 2, 3))
  assert (mirrored | (found == image).all(axis=(1, 2, 3))).all()
  assert 12 < mirrored.sum() < 52  # 32 and 5 standard deviations of 4
  assert (augment.random_flip(KEYS, jnp.asarray(image), 0.0) == image).all()


def test_pad_and_crop_moves_by_every_distance_and_fills_with_black():
  image = images(64, (6, 5, 1)) + 0.5
  found = np.asarray(augment.pad_crop(KEYS, image, 1))
  padded = np.pad(np.asarray(image), ((0, 0), (1, 1), (1, 1), (0, 0)))
  moves = set()
  for k in range(64):
    windows = {
      (y, x): padded[k, y : y + 6, x : x + 5] for y in range(3) for x in range(3)
    }
    [at] = [m for m, window in windows.items() if (window == found[k]).all()]
    moves.add(at)
  assert len(moves) == 9


def test_strengths_of_zero_leave_colors_as_they_are():
  image = images()
  found = color_jitter(KEYS, image, brightness=0.0, contrast=0.0, saturation=0.0)
  assert np.abs(np.asarray(found) - image).max() < 1e-6


@pytest.mark.parametrize("what", ["brightness", "contrast", "saturation"])
def test_each_color_change_keeps_what_it_says(what):
  image = 0.4 + 0.2 * images()  # so that nothing is cut off
  strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, what: 0.5}
  found = np.asarray(color_jitter(KEYS, image, **strengths))
  image = np.asarray(image)
  grey = image @ np.float32([0.299, 0.587, 0.114])
  base = {
    "brightness": np.zeros_like(grey),
    "contrast": np.broadcast_to(grey.mean(axis=(1, 2), keepdims=True), grey.shape),
    "saturation": grey,
  }[what][..., None]
  factor = (found - base).sum(axis=(1, 2, 3)) / (image - base).sum(axis=(1, 2, 3))
  if what == "contrast":  # what is left of the sum is too small to divide by
    factor = (found - base).std(axis=(1, 2, 3)) / (image - base).std(axis=(1, 2, 3))
  wanted = base + factor[:, None, None, None] * (image - base)
  assert np.abs(found - wanted).max() < 1e-3
  assert factor.min() > 0.49 and factor.max() < 1.51 and factor.std() > 0.2


def test_pixels_are_normalised_per_channel():
  image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3) * 10
  found = augment.normalise(jnp.asarray(image), *augment.IMAGENET)
  mean, std = np.array(augment.IMAGENET)
  assert np.abs(np.asarray(found) - (image / 255 - mean) / std).max() < 1e-6
  assert np.asarray(augment.normalise(jnp.asarray(image))).max() <= 1.0
  again = augment.normalise(augment.normalise(jnp.asarray(image)), *augment.IMAGENET)
  assert (np.asarray(again) == np.asarray(found)).all()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"method": "nearest"}, r"method = 'nearest' is unknown; write bicubic or"),
    ({"scale": (0.5, 2.0)}, r"scale = \(0\.5, 2\.0\).*at most 1"),
    ({"ratio": (2.0, 0.5)}, r"ratio = \(2\.0, 0\.5\) must be two numbers above 0"),
  ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    augment.random_resized_crop(KEYS[:2], images(2), size=(4, 4), **options)
