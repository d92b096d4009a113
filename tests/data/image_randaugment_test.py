import collections
import math
import pathlib

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets, pipeline
from mdm.data.image_randaugment import (
  MEAN_COLOUR,
  MEAN_GREY,
  OPERATIONS,
  Change,
  apply_changes,
  draw_changes,
  randaugment_images,
)

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
IMAGES = np.stack([np.roll(NOISE, k, axis=1) for k in range(12)])
INDEX = np.arange(100, 112)
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
STILL = (*MOVES, "solarize", "solarize_add", "color", "contrast", "brightness")


def apply(name, pixels, magnitude=9.0, sign=1.0):
  return apply_changes(pixels, [Change(name, magnitude / 10, sign)])


def draws(count, **settings):
  rng = np.random.default_rng(0)
  return [draw_changes(rng, **settings) for _ in range(count)]


def test_an_image_changes_alike_in_any_batch():
  whole = randaugment_images(IMAGES, INDEX, seed=3)
  order = [7, 1, 5]
  part = randaugment_images(IMAGES[order], INDEX[order], seed=3)
  np.testing.assert_array_equal(part, whole[order])


def test_changes_depend_on_seed_and_place_and_leave_the_source():
  same = np.stack([NOISE] * 12)
  one = randaugment_images(same, INDEX, seed=3)
  for other in (
    randaugment_images(same, INDEX, seed=4),
    randaugment_images(same, INDEX + 12, seed=3),
  ):
    assert (one != other).any(axis=(1, 2, 3)).sum() > 5  # a quarter changes nothing
  assert (same == NOISE).all()


def test_operations_are_drawn_evenly_with_repeats_and_half_of_them_applied():
  found = draws(6_000, num_ops=3)
  sizes = collections.Counter(map(len, found))
  # Binomial(3, 1/2) of 6,000: deviation of a share at most 0.0063; four of them.
  for k in range(4):
    assert abs(sizes[k] / 6_000 - math.comb(3, k) / 8) < 0.026
  counts = collections.Counter(c.name for changes in found for c in changes)
  # 1.5/15 of 6,000 is 600, with a deviation of 24; five of them.
  assert set(counts) == set(OPERATIONS)
  assert all(abs(count - 600) < 120 for count in counts.values())
  pairs = [c for c in found if len(c) == 2]
  share = sum(a.name == b.name for a, b in pairs) / len(pairs)
  assert abs(share - 1 / 15) < 4 * math.sqrt(1 / 15 / len(pairs))


def test_magnitudes_are_normal_held_to_ten_and_drawn_for_each_operation():
  found = [c for changes in draws(6_000) for c in changes]
  strength = np.array([c.strength for c in found])
  # P(N(9, 0.5) > 10) = 0.0228 of 6,000: deviation 0.002.
  assert abs((strength == 1).mean() - 0.0228) < 0.008
  assert abs(np.median(strength) - 0.9) < 0.004
  inner = np.quantile(strength, [0.1587, 0.8413])
  assert np.abs(inner - [0.85, 0.95]).max() < 0.006
  pairs = [c for c in draws(500) if len(c) == 2]
  assert all(a.strength != b.strength or a.strength == 1 for a, b in pairs)
  signs = np.array([c.sign for c in found])
  assert set(signs) == {1.0, -1.0} and abs(signs.mean()) < 0.06
  assert min(c.strength for x in draws(900, magnitude=0.2) for c in x) == 0


def test_without_deviation_every_magnitude_is_the_one_asked_for():
  found = draws(200, magnitude=6.0, deviation=0.0)
  assert {c.strength for changes in found for c in changes} == {0.6}


@pytest.mark.parametrize("shape", [(16, 24, 1), (5, 7, 3), (1, 1, 3), (1, 1, 1)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_shape_and_the_source(name, shape):
  pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
  before = pixels.copy()
  for sign in (1.0, -1.0):
    found = apply(name, pixels, 10.0, sign)
    assert found.shape == shape and found.dtype == np.uint8
  assert (pixels == before).all()


@pytest.mark.parametrize("name", STILL)
def test_at_strength_zero_these_change_nothing(name):
  assert (apply(name, NOISE, 0.0) == NOISE).all()


def test_values_change_as_the_strength_says():
  ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0)
  x = ramp.astype(int)
  assert (apply("invert", ramp) == 255 - x).all()
  for magnitude, bits in ((9.0, 1), (7.4, 2), (2.0, 4), (10.0, 0)):
    assert (apply("posterize", ramp, magnitude) == x & (256 - (1 << 8 - bits))).all()
  assert (apply("solarize", ramp) == np.where(x >= 26, 255 - x, x)).all()
  assert (apply("solarize_add", ramp) == np.where(x < 128, x + 99, x)).all()


@pytest.mark.parametrize(("sign", "factor"), [(1.0, 1.81), (-1.0, 0.19)])
def test_blends_go_to_the_blank_or_beyond_by_the_strength(sign, factor):
  pixels = np.array([[[90, 120, 150]], [[140, 100, 120]]], np.uint8).repeat(8, 1)
  x = pixels.astype(float)
  grey = np.asarray(Image.fromarray(pixels).convert("L"), float)
  blanks = {"brightness": 0, "contrast": round(grey.mean()), "color": grey[..., None]}
  for name, blank in blanks.items():
    expected = (blank + factor * (x - blank)).clip(0, 255)
    # Pillow cuts off what follows the point.
    assert np.abs(apply(name, pixels, 9.0, sign) - expected).max() <= 1
  edge = np.full((9, 9, 3), 100, np.uint8)
  edge[:, 5:] = 150
  contrast = np.ptp(apply("sharpness", edge, 9.0, sign)[4, 2:8].astype(int), axis=0)
  assert ((contrast > 50) if sign > 0 else (contrast <= 50)).all()


def test_moves_fill_with_the_mean_colour_of_imagenet_and_its_grey():
  white = np.full((20, 20, 3), 255, np.uint8)
  for name in MOVES:
    found = apply(name, white, 10.0)
    assert (found == MEAN_COLOUR).all(-1).any(), name
    assert (apply(name, white[..., :1], 10.0) == MEAN_GREY).any(), name
  tile = Image.new("RGB", (1, 1), MEAN_COLOUR).convert("L")
  assert tile.getpixel((0, 0)) == MEAN_GREY


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_translations_move_by_their_share_of_a_side(sign):
  found = apply("translate_x", np.full((10, 40, 1), 255, np.uint8), 10.0, sign)
  empty = found[0, :, 0] == MEAN_GREY
  assert empty.sum() == 18 and empty[-1 if sign > 0 else 0]
  found = apply("translate_y", np.full((40, 10, 1), 255, np.uint8), 10.0, sign)
  assert (found[:, 0, 0] == MEAN_GREY).sum() == 18


def test_color_leaves_grey_as_it_is():
  grey = NOISE[..., :1]
  assert (apply("color", grey, 10.0) == grey).all()


@pytest.fixture
def photos(tmp_path):
  """Twenty images of 20 x 30 in two classes, as settings of a folder of images."""
  for k in range(20):
    path = tmp_path / "ab"[k % 2] / f"{k:02d}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.roll(NOISE, k, axis=0)).save(path)
  return {"name": "images", "folder": str(tmp_path)}


@pytest.mark.parametrize(
  "settings",
  [
    {},
    {"in_memory": False},
    {"channels": 1},
    {"crop": "random", "image_size": (12, 12)},
  ],
)
def test_training_batches_are_their_crops_changed_by_place(photos, settings):
  plain = datasets.load(photos | settings, "train")
  changed = datasets.load(photos | settings | {"randaugment": 9}, "train")
  assert not changed.is_in_memory  # so that batches are made ahead
  source = pipeline.batch_at(plain, 3, seed=5, batch=8)
  whole = pipeline.batch_at(changed, 3, seed=5, batch=8)
  expected = randaugment_images(source["image"], np.arange(24, 32), seed=5)
  assert (whole["image"] == expected).all()
  assert (whole["image"] != source["image"]).any()
  assert (whole["label"] == source["label"]).all()
  half = pipeline.batch_at(changed, 3, seed=5, batch=8, process=1, num_processes=2)
  assert (half["image"] == whole["image"][4:]).all()


def test_the_settings_reach_the_operations(photos):
  chosen = {"randaugment": 4.0, "randaugment_ops": 5, "randaugment_std": 0.0}
  source = datasets.load(photos, "train")
  changed = datasets.load(photos | chosen, "train")
  numbers = np.arange(12)
  found = changed.draw(numbers, numbers, 2)["image"]
  pixels = source.fetch(numbers)["image"]
  expected = randaugment_images(
    pixels, numbers, seed=2, magnitude=4.0, num_ops=5, deviation=0.0
  )
  assert (found == expected).all()
  assert (found != randaugment_images(pixels, numbers, seed=2)).any()


def test_what_is_kept_in_memory_stays_as_it_was(photos):
  dataset = datasets.load(photos | {"randaugment": 9}, "train")
  numbers = np.arange(len(dataset))
  before = dataset.fetch(numbers)["image"]
  first = dataset.draw(numbers, numbers, 0)["image"]
  assert (dataset.draw(numbers, numbers, 0)["image"] == first).all()
  assert (dataset.fetch(numbers)["image"] == before).all()


@pytest.mark.parametrize("in_memory", [None, False])
def test_evaluation_sees_images_unchanged(photos, in_memory):
  section = photos | {"in_memory": in_memory}
  for split in ("validation", "train"):
    plain = datasets.load(section, split)
    changed = datasets.load(section | {"randaugment": 9}, split)
    batches = zip(
      pipeline.eval_batches(plain, 4), pipeline.eval_batches(changed, 4), strict=True
    )
    for before, after in batches:
      assert (before["image"] == after["image"]).all()


def test_a_stand_in_for_a_corrupt_image_is_changed_as_its_place_says(photos):
  path = sorted((pathlib.Path(photos["folder"]) / "a").iterdir())[3]
  path.write_bytes(path.read_bytes()[:60])
  section = photos | {"on_corrupt": "skip", "in_memory": False}
  plain = datasets.load(section, "train+validation")
  changed = datasets.load(section | {"randaugment": 9}, "train+validation")
  numbers = np.arange(20)
  source = plain.draw(numbers, numbers, 0)["image"]
  found = changed.draw(numbers, numbers, 0)["image"]
  assert (found == randaugment_images(source, numbers, seed=0)).all()
