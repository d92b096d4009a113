import numpy as np
import pytest
from PIL import Image

from mdm.data import crops
from mdm.data.crops import Box


def noise(rows, columns, channels=3):
  """An image of noise."""
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (rows, columns, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_part_is_cut_out_before_it_is_scaled(channels):
  image = noise(40, 30, channels)
  found = crops.cut_and_scale(image, Box(3, 5, 21, 17), (16, 24))
  around = image.copy()
  around[:3], around[24:], around[:, :5], around[:, 22:] = 0, 0, 0, 0
  assert found.shape == (16, 24, channels)
  assert (found == crops.cut_and_scale(around, Box(3, 5, 21, 17), (16, 24))).all()
  part = image[3:24, 5:22].squeeze()
  wanted = Image.fromarray(part).resize((24, 16), Image.Resampling.BICUBIC)
  assert (found.squeeze() == np.asarray(wanted)).all()


def test_a_part_of_the_right_size_is_not_touched():
  image = noise(8, 9)
  assert (crops.cut_and_scale(image, Box(1, 2, 4, 5), (4, 5)) == image[1:5, 2:7]).all()


@pytest.mark.parametrize(
  ("shape", "size", "share", "box"),
  [
    ((40, 60), (16, 16), 1.0, Box(0, 10, 40, 40)),
    ((60, 40), (10, 20), 1.0, Box(20, 0, 20, 40)),
    ((256, 256), (224, 224), 0.875, Box(16, 16, 224, 224)),
    ((1, 50), (8, 8), 1.0, Box(0, 24, 1, 1)),
  ],
)
def test_the_middle_has_the_proportions_asked_for(shape, size, share, box):
  assert crops.middle_box(shape, size, share) == box


def test_drawn_parts_lie_inside_and_have_the_shares_and_ratios_asked_for():
  rng = np.random.default_rng(0)
  found = [crops.draw_box(rng, (300, 200), (0.2, 0.6), (0.5, 2.0)) for _ in range(500)]
  top, left, rows, columns = np.array(found).T
  assert (top >= 0).all() and (top + rows <= 300).all()
  assert (left >= 0).all() and (left + columns <= 200).all()
  share, ratio = rows * columns / 60_000, columns / rows
  assert 0.195 < share.min() < 0.25 and 0.55 < share.max() < 0.605
  assert 0.49 < ratio.min() < 0.6 and 1.5 < ratio.max() < 2.02
  assert len(set(found)) > 490


def test_where_nothing_fits_the_largest_middle_part_is_taken():
  rng = np.random.default_rng(0)
  assert crops.draw_box(rng, (4, 40), (1.0, 1.0), (3 / 4, 4 / 3)) == Box(0, 17, 4, 5)
  assert crops.draw_box(rng, (40, 4), (1.0, 1.0), (3 / 4, 4 / 3)) == Box(17, 0, 5, 4)
