import collections
import math

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets, pipeline
from mdm.data import randaugment as augmenting
from mdm.data.randaugment import OPERATIONS, change_image, randaugment

NOISE = np.random.default_rng(0).integers(0, 256, (32, 96, 3), np.uint8)
INDEX = np.arange(100, 112)
IMAGES = [np.roll(NOISE, k, axis=1) for k in range(12)]
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
SAME = {"solarize", "solarize_add", "color", "contrast", "brightness", "gaussian_blur"}


def apply(name, pixels, magnitude=5, seed=0):
  """One operation on [y x] or [y x c]."""
  picture = OPERATIONS[name](
    Image.fromarray(pixels), magnitude / 10, np.random.default_rng(seed)
  )
  return np.asarray(picture)


def variants(name, pixels, magnitude=5):
  """What an operation makes of an image over many draws, each kind once."""
  found = {}
  for seed in range(20):
    changed = apply(name, pixels, magnitude, seed)
    found[changed.tobytes()] = changed
  return list(found.values())


def column(rows=32, columns=96, at=48):
  """A white column on grey."""
  pixels = np.full((rows, columns), 128, np.uint8)
  pixels[:, at] = 255
  return pixels


def row(rows=32, columns=96, at=16):
  return np.ascontiguousarray(column(columns, rows, at).T)


def centre(line):
  """Mean place of what stands out from grey."""
  weight = np.abs(line.astype(float) - 128)
  return (weight * np.arange(len(line))).sum() / weight.sum()


def test_an_image_changes_alike_in_any_batch():
  whole = randaugment(IMAGES, INDEX, seed=3)
  order = [7, 1, 5]
  part = randaugment([IMAGES[k] for k in order], INDEX[order], seed=3)
  for k, found in zip(order, part, strict=True):
    np.testing.assert_array_equal(found, whole[k])


def test_changes_depend_on_seed_and_place_and_leave_the_source():
  before = NOISE.copy()
  one = randaugment([NOISE] * 12, INDEX, seed=3)
  for other in (
    randaugment([NOISE] * 12, INDEX, seed=4),
    randaugment([NOISE] * 12, INDEX + 12, seed=3),
  ):
    pairs = zip(one, other, strict=True)
    assert sum(a.shape != b.shape or (a != b).any() for a, b in pairs) > 6
  assert (before == NOISE).all()


def test_distinct_operations_are_drawn_evenly_and_half_of_them_applied(monkeypatch):
  seen = []
  for name in OPERATIONS:
    monkeypatch.setitem(
      OPERATIONS, name, lambda x, s, rng, name=name: seen[-1].append(name) or x
    )
  for k in range(4_000):
    seen.append([])
    change_image(NOISE, np.random.default_rng(k))
  assert all(len(set(names)) == len(names) for names in seen)
  sizes = collections.Counter(map(len, seen))
  # Binomial(3, 1/2) of 4,000: deviation of a share at most 0.008; four of them.
  for k in range(4):
    assert abs(sizes[k] / 4_000 - math.comb(3, k) / 8) < 0.032
  counts = collections.Counter(name for names in seen for name in names)
  assert set(counts) == set(OPERATIONS)
  # 3/32 of 4,000 is 375, with a deviation of 18; five of them.
  assert all(abs(count - 375) < 92 for count in counts.values())
  firsts = collections.Counter(names[0] for names in seen if names)
  assert len(firsts) == 16  # the order is drawn as well


@pytest.mark.parametrize("shape", [(32, 128, 3), (64, 64, 1), (5, 7, 3), (1, 1, 1)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_dtype_and_channels_and_all_but_rotation_size(
  monkeypatch, name, shape
):
  pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
  monkeypatch.setattr(augmenting, "OPERATIONS", {name: OPERATIONS[name]})
  for seed in range(4):
    found = change_image(pixels, np.random.default_rng(seed), magnitude=9.0, num_ops=1)
    assert found.dtype == np.uint8
    assert found.shape[2] == shape[2]
    assert name == "rotate" or found.shape == shape


@pytest.mark.parametrize("name", sorted(SAME | set(MOVES)))
def test_at_magnitude_zero_nothing_moves_and_no_value_changes(name):
  assert (apply(name, NOISE, magnitude=0) == NOISE).all()


def test_what_has_no_magnitude_changes_at_zero_too():
  assert (apply("invert", NOISE, 0) == 255 - NOISE).all()
  assert (apply("posterize", NOISE, 0) == NOISE & 0b11110000).all()
  assert 0 < np.abs(apply("poisson_noise", NOISE, 0) - NOISE.astype(int)).mean() < 1.5


def test_contrast_is_stretched_and_histograms_flattened_by_channel():
  ramp = np.tile(np.linspace(100, 150, 96).astype(np.uint8), (32, 1))
  pixels = np.stack([ramp, ramp // 2, 255 - ramp], axis=-1)
  for channel in np.moveaxis(apply("auto_contrast", pixels), -1, 0):
    assert (channel.min(), channel.max()) == (0, 255)
  skewed = (255 * (np.arange(3072) / 3071) ** 3).astype(np.uint8).reshape(32, 96)
  assert skewed.mean() < 70
  assert abs(apply("equalize", skewed).mean() - 128) < 8


def test_values_change_as_the_strength_says():
  ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
  x = ramp.astype(int)
  assert (apply("posterize", ramp) == (x & 0b11000000)).all()
  assert (apply("solarize", ramp) == np.where(x >= 128, 255 - x, x)).all()
  assert (apply("solarize_add", ramp) == np.where(x < 128, x + 55, x)).all()
  assert (apply("solarize", ramp, 10) == 255 - x).all()
  assert (apply("posterize", ramp, 10) == 0).all()


@pytest.mark.parametrize("name", ["brightness", "contrast", "color"])
def test_blends_go_both_ways_by_nine_twentieths(name):
  pixels = np.array([[[90, 120, 150]], [[140, 100, 120]]], np.uint8).repeat(8, 1)
  x = pixels.astype(int)
  grey = np.asarray(Image.fromarray(pixels).convert("L"), float)
  blank = {"brightness": 0, "contrast": round(grey.mean()), "color": grey[..., None]}
  found = variants(name, pixels)
  assert len(found) == 2
  for factor in (0.55, 1.45):
    expected = blank[name] + factor * (x - blank[name])
    # Pillow cuts off what follows the point.
    assert min(np.abs(v - expected).max() for v in found) <= 1


def test_color_leaves_grey_as_it_is():
  assert (apply("color", NOISE[..., 0], 10) == NOISE[..., 0]).all()


@pytest.mark.parametrize(
  ("name", "pixels", "share"),
  [("translate_x", column(), 0.05 * 96), ("translate_y", row(), 0.15 * 32)],
)
def test_translations_move_by_their_share_either_way(name, pixels, share):
  axis = 0 if name == "translate_x" else 1
  before = centre(pixels.mean(axis=axis))
  moved = {round(centre(v.mean(axis=axis)) - before, 2) for v in variants(name, pixels)}
  # Cubic weights that overshoot are cut at 255, which shifts the centre a little.
  for way in (share, -share):
    assert min(abs(m - way) for m in moved) < 0.2
  assert all(abs(abs(m) - share) < 0.2 for m in moved)


@pytest.mark.parametrize(("name", "slope"), [("shear_x", 0.45), ("shear_y", 0.1)])
def test_shears_leave_the_origin_and_grow_from_there(name, slope):
  pixels = column() if name == "shear_x" else row()
  signs = set()
  for sheared in variants(name, pixels):
    lines = sheared if name == "shear_x" else sheared.T
    at = np.array([centre(line) for line in lines])
    fit = np.polyfit(np.arange(len(at)), at, 1)
    assert abs(abs(fit[0]) - slope) < 0.02
    assert abs(fit[1] - (48 if name == "shear_x" else 16)) < 0.5
    signs.add(np.sign(fit[0]))
  assert signs == {-1, 1}


def test_rotation_turns_both_ways_by_fifteen_degrees_and_keeps_all_corners():
  pixels = np.full((40, 120), 255, np.uint8)
  cos, sin = math.cos(math.radians(15)), math.sin(math.radians(15))
  ways = set()
  for turned in variants("rotate", pixels):
    rows, columns = turned.shape
    assert abs(columns - (120 * cos + 40 * sin)) <= 2
    assert abs(rows - (40 * cos + 120 * sin)) <= 2
    assert turned[0, 0] == 128  # grey fills
    area = (turned.astype(float) - 128).sum() / 127
    assert abs(area / pixels.size - 1) < 0.02
    left = centre(turned[:, : columns // 4].mean(axis=1))
    ways.add(bool(left > rows / 2))  # the left end is lower or higher
  assert ways == {True, False}


def test_blur_grows_with_the_magnitude_up_to_a_share_of_the_longer_side():
  def deviation(pixels, magnitude):
    line = apply("gaussian_blur", pixels, magnitude)[16].astype(float) - 128
    places = np.arange(len(line))
    mean = (line * places).sum() / line.sum()
    return math.sqrt((line * (places - mean) ** 2).sum() / line.sum())

  # Pixels are rounded to whole values, which cuts the tails.
  assert abs(deviation(column(columns=200, at=100), 5) - 2) < 0.3
  assert abs(deviation(column(columns=200, at=100), 10) - 4) < 0.6
  assert abs(deviation(column(columns=40, at=20), 10) - 1) < 0.2


def test_noise_is_poisson_of_either_sign_and_alike_in_all_channels():
  grey = np.full((64, 128, 3), 128, np.uint8)
  noise = apply("poisson_noise", grey).astype(int) - 128
  assert (noise == noise[..., :1]).all()
  # Mean 21 (20 made odd), 8,192 draws: deviation 0.05; half of each sign: 0.006.
  assert abs(np.abs(noise[..., 0]).mean() - 21) < 0.3
  assert abs(np.abs(noise[..., 0]).var() - 21) < 2.5
  assert abs((noise[..., 0] > 0).mean() - 0.5) < 0.03
  small = apply("poisson_noise", np.full((30, 30), 128, np.uint8)).astype(int) - 128
  assert abs(np.abs(small).mean() - 7) < 0.6  # a fifth of 30 is 6, made odd


def test_a_word_that_turns_out_of_its_bucket_is_changed_anew():
  wide = [np.full((32, 128, 1), 200, np.uint8)] * 300
  index = np.arange(300)
  assert len({x.shape for x in randaugment(wide, index, seed=0)}) > 1
  upright = randaugment(wide, index, seed=0, ratios=[4] * 300)
  assert {x.shape for x in upright} == {(32, 128, 1)}
  free = randaugment(wide, index, seed=0, ratios=[2] * 300)
  assert len({x.shape for x in free}) > 1


def test_training_batches_are_changed_before_they_are_stretched(photos):
  section = {"name": "folder", "folder": str(photos), "buckets": True}
  plain = datasets.load(section, "train")
  changed = datasets.load(section | {"randaugment": 5}, "train")
  assert not changed.is_in_memory
  for step in range(4):
    whole = pipeline.batch_at(changed, step, seed=5, batch=8)
    halves = [
      pipeline.batch_at(changed, step, seed=5, batch=8, process=p, num_processes=2)
      for p in range(2)
    ]
    for key, value in whole.items():
      assert (np.concatenate([half[key] for half in halves]) == value).all()
    source = pipeline.batch_at(plain, step, seed=5, batch=8)
    assert whole["image"].shape == source["image"].shape
    assert (whole["image"] != source["image"]).any()
    assert (whole["tokens"] == source["tokens"]).all()


def test_evaluation_sees_images_unchanged(photos):
  section = {"name": "folder", "folder": str(photos)}
  plain = datasets.load(section, "test")
  changed = datasets.load(section | {"randaugment": 5}, "test")
  numbers = np.arange(8)
  assert (changed.fetch(numbers)["image"] == plain.fetch(numbers)["image"]).all()
