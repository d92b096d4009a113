import numpy as np
import pytest
from PIL import Image

from mdm.data.rendering.photos import SIDE, crop_photo, load_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A large photograph whose grey is its column, an icon, a file of neither kind."""
  folder = tmp_path_factory.mktemp("views")
  ramp = np.tile(np.linspace(0, 255, 1_000).astype(np.uint8), (400, 1))
  Image.fromarray(ramp).save(folder / "ramp.png")
  Image.fromarray(ramp[:50, :50]).save(folder / "icon.png")
  (folder / "broken.jpg").write_bytes(b"no picture")
  return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_are_kept_and_icons_and_broken_files_are_not(folder, channels):
  (photo,) = load_photos(str(folder), channels)
  assert photo.shape == (256, SIDE, channels)


def test_a_crop_has_the_size_asked_for_and_shows_a_part(folder):
  photos = load_photos(str(folder), 1)
  crops = [crop_photo(np.random.default_rng(k), photos, 20, 60) for k in range(50)]
  assert {c.shape for c in crops} == {(20, 60, 1)}
  spans = [np.ptp(c) for c in crops]
  assert min(spans) < 40 < max(spans)  # patches and wide views
  assert all((np.diff(c[:, :, 0], axis=1) >= -1).all() for c in crops)  # not mirrored


def test_a_crop_larger_than_the_photograph_is_enlarged(folder):
  photos = load_photos(str(folder), 1)
  assert crop_photo(np.random.default_rng(0), photos, 500, 900).shape == (500, 900, 1)


def test_a_folder_without_photographs_is_refused(tmp_path):
  with pytest.raises(ValueError, match="holds no picture of 200 pixels"):
    load_photos(str(tmp_path), 1)
