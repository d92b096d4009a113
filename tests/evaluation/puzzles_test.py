"""Images put together: each place has the patch that was chosen for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from toys.bright import Looker
from toys.pictures import away_from_zero, pictures, start

from mdm.evaluation import puzzles
from mdm.evaluation.image_plots import GAP, HIDDEN, LINE
from mdm.evaluation.puzzles import (
  Puzzle,
  choose_matched,
  choose_placed,
  draw_puzzles,
  make_puzzler,
)
from mdm.masks.scores import split_by_mask
from mdm.methods.image.mp3 import Mp3
from mdm.methods.image.selfie import Selfie
from mdm.nn.resnet import ResNet
from mdm.nn.transformer import Transformer
from mdm.nn.vit import Vit

SIDE, N = 4, 16
BATCH = {name: pictures()[name] for name in ("image", "index")}


def _mp3():
  encoder = Vit(patch=SIDE, width=16, depth=1, heads=2, positions="none", has_cls=False)
  method = Mp3(encoder=encoder)
  return method, away_from_zero(start(method, pictures()))


def _selfie():
  encoder = ResNet(
    widths=(4, 6, 8, 10), depths=(1, 1, 1, 1), block="basic", stem="small", groups=1
  )
  pooling = Transformer(depth=1, heads=2, mlp_ratio=0.625)
  method = Selfie(encoder=encoder, pooling=pooling, patch=SIDE)
  return method, start(method, pictures())


def _patches(image):
  grid = np.asarray(image).reshape(len(image), 4, SIDE, 4, SIDE, 3)
  return grid.swapaxes(2, 3).reshape(len(image), N, -1)


def test_a_place_gets_the_patch_that_is_surest_of_it():
  order = np.array([2, 0, 1])
  logits = np.zeros((1, 3, 3), np.float32)
  logits[0, order, np.arange(3)] = 5.0  # patch order[j] says place j
  logits[0, 2, 0] = 9.0
  assert choose_placed(jnp.asarray(logits)).tolist() == [[2, 0, 1]]


def test_hidden_places_get_hidden_patches_and_the_others_stay():
  mask = jnp.array([[True, False, True, False]])
  split = split_by_mask(mask, 2)
  logits = np.array(
    [[[0.0, 1.0], [1.0, 0.0]]], np.float32
  )  # each fits at the other's place
  assert choose_matched(jnp.asarray(logits), split).tolist() == [[2, 1, 0, 3]]


@pytest.mark.parametrize("make", [_mp3, _selfie])
def test_what_is_put_together_are_the_patches_of_the_image(make):
  method, variables = make()
  found = make_puzzler(method)(variables, BATCH)
  np.testing.assert_allclose(found.image, BATCH["image"] / 255, atol=1e-5)
  whole, made = _patches(found.image), _patches(found.made)
  for row in range(len(whole)):
    for place in range(N):
      gaps = np.abs(whole[row] - made[row, place]).max(-1)
      assert gaps.min() < 1e-6
      assert bool(gaps.argmin() == place) == bool(found.right[row, place])
  if make is _selfie:
    assert found.right[~found.mask].all()


def test_the_same_patches_are_hidden_again_and_others_with_another_seed():
  method, variables = _selfie()
  first, again, other = (
    make_puzzler(method, seed)(variables, BATCH).mask for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_a_row_has_the_image_its_context_the_whole_and_what_is_right():
  image = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)
  mask = np.array([[True, False, False, False]])
  found = Puzzle(image, mask, image[:, ::-1], ~mask)
  sheet = np.asarray(draw_puzzles(found))
  scale = 96 // 4

  def cell(column):
    """One pixel for each of the image's."""
    left = GAP + column * (96 + GAP)
    part = sheet[LINE + GAP : LINE + GAP + 96, left : left + 96]
    return part[scale // 2 :: scale, scale // 2 :: scale]

  whole = np.rint(image[0] * 255)
  np.testing.assert_array_equal(cell(0), whole)
  assert (cell(1)[:2, :2] == HIDDEN).all() and (cell(1)[2:] == whole[2:]).all()
  np.testing.assert_array_equal(cell(2), whole[::-1])
  assert (cell(3)[:2, :2] == HIDDEN).all() and (cell(3)[2:] == cell(2)[2:]).all()


def test_a_method_that_places_nothing_is_refused():
  assert not puzzles.has_puzzles(Looker())
  with pytest.raises(ValueError, match="Looker places no patches"):
    make_puzzler(Looker())
