import numpy as np
import pytest
from PIL import Image

from mdm.data.rendering import photos as module
from mdm.data.rendering.photos import SIDE, crop_photo, load_photos, prepare_photos


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


@pytest.mark.parametrize("channels", [1, 3])
def test_prepared_photographs_are_the_same_and_decoded_once(
  tmp_path, monkeypatch, channels
):
  noise = np.random.default_rng(0).integers(0, 256, (2, 700, 900, 3), np.uint8)
  for name, pixels in zip(("b/bark.jpg", "a.png"), noise, strict=True):
    (tmp_path / "views" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(tmp_path / "views" / name)
  views, home = str(tmp_path / "views"), tmp_path / "home"
  expected = load_photos(views, channels)
  place = prepare_photos(views, channels, home)
  monkeypatch.setattr(module, "_read", lambda *_: pytest.fail("decoded again"))
  assert prepare_photos(views, channels, home) == place
  found = load_photos(str(place), channels)
  assert len(found) == len(expected) == 2
  assert all((x == y).all() for x, y in zip(found, expected, strict=True))
  assert [p.name for p in home.iterdir()] == [place.name]


def test_a_changed_photograph_is_prepared_anew(folder, tmp_path):
  views = tmp_path / "views"
  views.mkdir()
  content = (folder / "ramp.png").read_bytes()
  (views / "one.png").write_bytes(content)
  first = prepare_photos(str(views), 1, tmp_path / "home")
  (views / "two.png").write_bytes(content)
  load_photos.cache_clear()
  second = prepare_photos(str(views), 1, tmp_path / "home")
  assert second != first
  assert len(load_photos(str(second), 1)) == 2
  assert prepare_photos(str(views), 3, tmp_path / "home") not in (first, second)


def test_what_cannot_be_prepared_leaves_nothing(tmp_path):
  (tmp_path / "views").mkdir()
  with pytest.raises(ValueError, match="holds no picture"):
    prepare_photos(str(tmp_path / "views"), 1, tmp_path / "home")
  assert not (tmp_path / "home").exists()
