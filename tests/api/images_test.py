import dataclasses

import numpy as np
import pytest
from PIL import Image

from mdm import api
from mdm.nn.denoiser import Denoiser

FEW = {"steps": 2, "batch": 2, "keeps_history": True}


@pytest.fixture(scope="module")
def model(tiny_pixels):
  return api.load(tiny_pixels)


def test_images_are_drawn_pass_by_pass(model):
  images = model.sample_images(2, **FEW)
  for image in images:
    assert image.pixels.shape == (32, 32, 3) and image.pixels.dtype == np.uint8
    hidden = [int((canvas == 256).sum()) for canvas in image.canvases]
    assert 2_000 > hidden[0] > hidden[1] == 0
    assert (image.canvases[-1] == image.pixels).all()


def test_an_image_depends_on_its_number_and_the_seed_alone(model):
  many, few, other = (
    [image.pixels for image in model.sample_images(num, seed=seed, **FEW)]
    for num, seed in ((3, 0), (2, 0), (2, 1))
  )
  assert all((x == y).all() for x, y in zip(many[:2], few, strict=True))
  assert not (many[0] == many[1]).all() and not (many[0] == other[0]).all()


def test_a_grid_of_images_is_written(tiny_pixels, tmp_path):
  images = api.sample_images(tiny_pixels, tmp_path / "grid.png", num=3, **FEW)
  with Image.open(tmp_path / "grid.png") as picture:
    assert picture.mode == "RGB" and picture.size == (204, 204)
    shown = np.asarray(picture)[4:100:3, 104:200:3]
  assert (shown == images[1].pixels).all()


@pytest.mark.parametrize(
  ("settings", "answer"),
  [
    ({"num": 0}, "num = 0"),
    ({"sampler": "ancestor"}, "did you mean 'ancestral'"),
    ({"steps": 9_999, "sampler": "low_confidence"}, "more than the 3072 positions"),
    ({"prompt": "a cat"}, "'prompt' is not a setting of samplers"),
    ({"guidance": 1.0}, "needs a prompt"),
  ],
)
def test_requests_that_make_no_sense_are_refused(model, settings, answer):
  with pytest.raises(ValueError, match=answer):
    model.sample_images(**settings)


def test_a_network_that_knows_no_size_draws_nothing(model):
  method = model.method.clone(network=Denoiser(vocab_size=256))
  with pytest.raises(ValueError, match=r"model\.network\.size = None"):
    dataclasses.replace(model, method=method).sample_images(1)
