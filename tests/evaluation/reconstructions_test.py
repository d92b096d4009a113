"""Reconstructions while a model learns: the same task each time, told in numbers."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from toys.bright import SIDE, Looker, Pictures

from mdm.data import datasets
from mdm.evaluation.image_plots import GAP, LINE
from mdm.evaluation.reconstructions import Reconstructions, measure, spread_images
from mdm.masks.keys import example_keys
from mdm.masks.scores import random_scores
from mdm.methods.base import Method
from mdm.methods.image.mae import Reconstruction


class Painter(Method):
  """Paints one grey over hidden patches of 2 x 2 pixels, three quarters of all."""

  @nn.compact
  def __call__(self, batch, *, train):
    raise NotImplementedError

  @nn.compact
  def reconstruct(self, batch):
    assert set(batch) >= {"image", "index"}
    grey = self.param("grey", lambda key: jnp.zeros(()))
    image = jnp.asarray(batch["image"]).astype(jnp.float32) / 255
    keys = example_keys(self.make_rng("mask"), jnp.asarray(batch["index"]))
    score = random_scores(keys, 16)
    mask = score > jnp.sort(score, axis=1)[:, 3:4]
    hidden = mask.reshape(-1, 4, 4).repeat(2, 1).repeat(2, 2)[..., None]
    filled = jnp.where(hidden, grey, image)
    return Reconstruction(image, mask, filled, mask * jnp.abs(grey - 1))


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, count=5))


def evaluate(grey=0.0, **settings):
  evaluator = Reconstructions(**settings).build(Painter(), {})
  return evaluator({"params": {"grey": jnp.float32(grey)}})


def middle(picture, column, count, rows=SIDE, scale=96 // SIDE):
  """A column's images in the sheet, a pixel for each of theirs."""
  step = rows * scale + GAP
  parts = []
  for row in range(count):
    top, left = LINE + GAP + row * step, GAP + column * step
    cell = picture[top : top + rows * scale, left : left + rows * scale]
    parts.append(cell[scale // 2 :: scale, scale // 2 :: scale])
  return np.stack(parts)


def test_images_from_all_over_the_split_are_drawn():
  for count, chosen in ((1, [0]), (3, [0, 2, 4]), (8, [0, 1, 2, 3, 4])):
    picture = evaluate(count=count).picture
    wanted = Pictures("validation", count=5).images[chosen]
    np.testing.assert_array_equal(middle(picture, 0, len(wanted)), wanted)
    assert picture.shape[0] == LINE + GAP + len(wanted) * (96 + GAP)


def test_the_same_patches_are_hidden_at_every_step_and_others_with_another_seed():
  first, later = evaluate(0.0), evaluate(0.9)
  other = evaluate(0.0, seed=1)
  masks = [middle(found.picture, 1, 5) for found in (first, later, other)]
  np.testing.assert_array_equal(masks[0], masks[1])
  assert (masks[0] != masks[2]).any()
  assert (middle(first.picture, 2, 5) != middle(later.picture, 2, 5)).any()


def test_numbers_are_means_over_what_was_hidden():
  image = np.zeros((2, 4, 4, 3), np.float32)
  filled = image.copy()
  filled[0, :2, :2] = 0.5  # one of two hidden patches
  mask = np.array([[True, False, False, False], [False, False, False, True]])
  found = measure(
    Reconstruction(image, mask, filled, mask * np.float32([[3.0], [1.0]]))
  )
  assert found == {"error": 2.0, "pixel_error": 0.125}


def test_numbers_and_the_picture_are_of_the_variables_given():
  assert evaluate(0.25)["error"] == 0.75
  assert evaluate(0.5)["pixel_error"] < evaluate(0.0)["pixel_error"]


def test_rows_without_weight_are_not_drawn():
  class Damaged(Pictures):
    """Its third image cannot be read."""

    def fetch(self, indices):
      return super().fetch(indices) | {"weight": np.float32(indices != 2)}

  found = spread_images(Damaged("validation", count=5), 3)
  assert found["index"].tolist() == [0, 4] and len(found["image"]) == 2


def test_a_method_that_fills_nothing_in_is_refused_before_data_is_read():
  with pytest.raises(ValueError, match="cannot fill in hidden patches"):
    Reconstructions().build(Looker(), {})


def test_no_image_is_an_error(monkeypatch):
  with pytest.raises(ValueError, match="count = 0"):
    Reconstructions(count=0).build(Painter(), {})
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, count=0))
  with pytest.raises(ValueError, match="no image to draw"):
    Reconstructions().build(Painter(), {})
