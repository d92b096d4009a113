"""Pictures of any size, shape and content, one or many."""

import dataclasses

import ml_collections
import numpy as np
import pytest
from PIL import Image

import mdm
from mdm.api.words import has_ink, make_batches


@pytest.fixture(scope="module")
def model(tiny):
  return mdm.load(tiny.run)


def picture(height, width, channels=1, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 255, (height, width, channels), np.uint8)


@pytest.mark.parametrize("size", [(1, 2), (3, 900), (900, 3), (32, 96), (400, 700)])
def test_any_size_and_aspect_is_read(model, size):
  (reading,) = model.predict(picture(*size, channels=3))
  assert 0 <= reading.confidence <= 1 and len(reading.text) <= 13


def test_an_even_surface_has_no_text(model):
  blank = np.full((40, 90), 200, np.uint8)
  (reading,) = model.predict(blank)
  assert reading.text == "" and reading.characters == [] and reading.confidence == 1
  assert model.read([blank]) == [""]
  assert not has_ink(blank) and has_ink(picture(4, 4))


def test_texts_alone_are_those_of_predict(model):
  images = [picture(32, 96, seed=k) for k in range(11)]
  texts = [reading.text for reading in model.predict(images, num_steps=2)]
  assert model.read(images, batch=8, decoder="lc", num_steps=2) == texts


def test_files_arrays_and_pictures_read_alike(model, tiny):
  with Image.open(tiny.image) as opened:
    readings = model.predict([tiny.image, opened.copy(), np.asarray(opened)])
  assert readings[0] == readings[1] == readings[2]


def test_a_wide_and_a_square_picture_take_the_sizes_of_their_ratio(model):
  cfg = ml_collections.ConfigDict(model.cfg.to_dict())
  cfg.data.buckets = True
  bucketed = dataclasses.replace(model, cfg=cfg)
  assert bucketed.pixels(picture(20, 90)).shape == (32, 128, 1)
  assert bucketed.pixels(picture(50, 40, channels=3)).shape == (64, 64, 1)
  with pytest.raises(ValueError, match="at least one pixel"):
    bucketed.pixels(np.zeros((0, 5), np.uint8))


def test_batches_hold_one_shape_each_and_every_picture_once():
  shapes = [(4, 4, 1), (2, 8, 1), (4, 4, 1), (4, 4, 1), (2, 8, 1)]
  pixels = [np.full(shape, k, np.uint8) for k, shape in enumerate(shapes)]
  seen = []
  for numbers, rows in make_batches(pixels, 2):
    assert rows.shape[0] == 2 and len({pixels[n].shape for n in numbers}) == 1
    assert [int(rows[row, 0, 0, 0]) for row in range(len(numbers))] == numbers
    seen += numbers
  assert sorted(seen) == list(range(5))
