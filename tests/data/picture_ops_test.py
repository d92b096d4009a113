import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mdm.data import picture_ops
from mdm.data.picture_ops import Move

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14), np.uint8)
PICTURE = Image.fromarray(PIXELS)
NEAREST = Move(Image.Resampling.NEAREST, 7)


def shifted(right, down):
  """Values from further right and further down, 7 where there are none."""
  rows, columns = PIXELS.shape
  y, x = np.arange(rows)[:, None] + down, np.arange(columns) + right
  inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
  return np.where(inside, PIXELS[y % rows, x % columns], 7)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-5, 0), (0, 2), (4, -3)])
def test_a_translation_takes_values_from_a_share_of_the_sides_away(right, down):
  found = picture_ops.translate(PICTURE, right / 14, down / 9, NEAREST)
  assert (np.asarray(found) == shifted(right, down)).all()


@pytest.mark.parametrize("slope", [0.5, -0.5])
def test_a_shear_moves_each_row_by_its_own_place(slope):
  found = np.asarray(picture_ops.shear(PICTURE, slope, 0.0, NEAREST))
  for y in range(9):
    right = int(np.floor(slope * (y + 0.5) + 0.5))  # of the middle of a pixel
    assert (found[y] == shifted(right, 0)[y]).all()
  turned = picture_ops.shear(
    PICTURE.transpose(Image.Transpose.TRANSPOSE), 0.0, slope, NEAREST
  )
  assert (found == np.asarray(turned).T).all()


def test_a_quarter_turn_goes_against_the_clock_and_the_frame_grows_if_asked():
  found = picture_ops.rotate(PICTURE, 90.0, NEAREST, grows=True)
  assert (np.asarray(found) == np.rot90(PIXELS)).all()
  kept = np.asarray(picture_ops.rotate(PICTURE, 90.0, NEAREST))
  assert kept.shape == PIXELS.shape
  assert (kept[:, :2] == 7).all() and (kept[:, 3:11] != 7).any()


@pytest.mark.parametrize("bits", range(5))
def test_the_highest_bits_are_kept(bits):
  kept = 256 - (1 << 8 - bits)
  for pixels in (PIXELS, np.stack([PIXELS] * 3, axis=-1)):
    found = np.asarray(picture_ops.posterize(Image.fromarray(pixels), bits))
    assert (found == pixels & kept).all()


def test_values_below_128_are_raised():
  ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
  found = np.asarray(picture_ops.solarize_add(ramp, 110))[0]
  assert (found[:128] == np.arange(110, 238)).all()
  assert (found[128:] == np.arange(128, 256)).all()


def test_a_blend_goes_from_the_blank_through_the_picture_and_beyond():
  for factor, wanted in ((0.0, 0), (1.0, PIXELS), (2.0, np.minimum(2.0 * PIXELS, 255))):
    found = picture_ops.blend(ImageEnhance.Brightness, PICTURE, factor)
    assert (np.asarray(found) == wanted).all()


def test_draws_are_those_of_seed_and_place():
  def first(seed, place):
    return picture_ops.make_generator(seed, place).random()

  assert first(3, 5) == first(3, 5)
  assert len({first(3, 5), first(4, 5), first(3, 6), first(-3, 5)}) == 4
  assert first(3, 5) != np.random.default_rng((3, 5)).random()  # that of crops
