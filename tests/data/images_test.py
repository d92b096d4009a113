import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from mdm.data.images import (
  BUCKETS,
  bucket_size,
  decode_image,
  fit_pixels,
  image_shape,
  read_image,
  suits_bucket,
)


def save(path, mode="RGB", size=(40, 20), value=None):
  Image.new(mode, size, value if value is not None else 0).save(path)
  return path


def test_an_image_is_stretched_without_padding(tmp_path):
  pixels = np.zeros((10, 40), np.uint8)
  pixels[:, 20:] = 255
  Image.fromarray(pixels).save(tmp_path / "half.png")
  image = read_image(tmp_path / "half.png", image_size=(32, 96))
  assert image.shape == (32, 96, 1)
  assert (image[:, :40] < 10).all()
  assert (image[:, 56:] > 245).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_colour(tmp_path, mode, channels):
  path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
  save(path, mode)
  image = read_image(path, channels=channels)
  assert image.shape == (20, 40, channels)
  assert image.dtype == np.uint8


def test_what_is_transparent_becomes_white(tmp_path):
  path = save(tmp_path / "clear.png", "RGBA", value=(0, 0, 0, 0))
  assert (read_image(path) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
  Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")
  assert (read_image(tmp_path / "deep.png") == 127).all()


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
    read_image(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_empty_unknown_and_truncated_files_are_refused_by_name(tmp_path, suffix):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  store = io.BytesIO()
  Image.fromarray(noise).save(store, "PNG" if suffix == "png" else "JPEG")
  whole = store.getvalue()
  path = tmp_path / f"bad.{suffix}"
  for content, message in [
    (b"", "is empty"),
    (b"no image at all", "is of no known image format"),
    (whole[: len(whole) // 2], "cannot be decoded"),
  ]:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.{suffix} {message}.*give a whole"):
      read_image(path)


def test_an_image_header_without_pixels_is_refused(tmp_path):
  path = tmp_path / "zero.ppm"
  path.write_bytes(b"P6 0 0 255\n")
  with pytest.raises(ValueError, match=r"zero\.ppm"):
    read_image(path)


def huge_png(side):
  """A PNG whose header claims a square of that side, and that holds no pixels."""

  def chunk(kind, content):
    """A part of the file with its checksum."""
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check

  header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
  parts = (
    chunk(b"IHDR", header),
    chunk(b"IDAT", zlib.compress(b"")),
    chunk(b"IEND", b""),
  )
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_a_header_that_claims_huge_sides_is_refused_before_room_is_made(
  tmp_path, side, monkeypatch
):
  monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("loaded"))
  (tmp_path / "huge.png").write_bytes(huge_png(side))
  with pytest.raises(
    ValueError, match=r"huge\.png cannot be decoded \(.*limit"
  ) as error:
    read_image(tmp_path / "huge.png")
  assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match=r"image x cannot be decoded \(.*limit"):
    image_shape(huge_png(side), "x")


def test_arrays_of_users_are_fitted_or_refused():
  assert fit_pixels(np.zeros((5, 9), np.uint8), (32, 96), 3).shape == (32, 96, 3)
  assert fit_pixels(np.zeros((5, 9, 3), np.uint8), (32, 96), 1).shape == (32, 96, 1)
  for shape in [(5,), (5, 9, 2), (0, 9), (5, 9, 3, 1)]:
    with pytest.raises(ValueError, match="of shape"):
      fit_pixels(np.zeros(shape, np.uint8), (32, 96), 1)


def test_shape_is_read_from_the_header():
  store = io.BytesIO()
  Image.new("L", (40, 20)).save(store, "PNG")
  assert image_shape(store.getvalue(), "x") == (20, 40)
  with pytest.raises(ValueError, match="image x"):
    image_shape(b"nothing", "x")


def test_bucket_sides_divide_by_four_and_sixteen_and_hold_alike_many_pixels():
  for width, height in BUCKETS.values():
    rows, columns = bucket_size(width, height)
    assert (rows, columns) == (height, width)
    assert rows % 4 == 0
    assert columns % 16 == 0
    assert 4096 <= rows * columns <= 4608


@pytest.mark.parametrize(
  ("width", "ratio"), [(5, 1), (32, 1), (47, 1), (49, 2), (96, 3), (900, 4)]
)
def test_the_bucket_is_the_rounded_ratio_within_one_to_four(width, ratio):
  assert bucket_size(width, 32) == BUCKETS[ratio][::-1]


def test_a_bucket_two_above_the_ratio_is_refused():
  assert suits_bucket(63, 32, 2)
  assert not suits_bucket(63, 32, 3)
  assert all(suits_bucket(w, 32, max(1, min(4, round(w / 32)))) for w in range(1, 300))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(orientation):
  upright = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
  turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of each, for Pillow
  stored = upright.transpose(turn[orientation]) if orientation > 1 else upright
  exif = Image.Exif()
  exif[0x0112] = orientation
  content = io.BytesIO()
  stored.save(content, "PNG", exif=exif)
  pixels = decode_image(content.getvalue(), name="photo")
  assert (pixels[..., 0] == np.asarray(upright)).all()
  assert image_shape(content.getvalue(), "photo") == (2, 3)
