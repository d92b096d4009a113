import stat
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mdm.evaluation import peers


def _install(folder, monkeypatch, script):
  program = folder / "tesseract"
  program.write_text("#!/bin/sh\n" + script)
  program.chmod(program.stat().st_mode | stat.S_IXUSR)
  monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_absent_tesseract_reads_nothing(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  assert peers.read_with_tesseract([np.zeros((8, 8, 1), np.uint8)]) is None


def test_pages_are_given_back_in_order(monkeypatch, tmp_path):
  _install(tmp_path, monkeypatch, 'while read -r x; do printf "w%s\\n\\f" "${x##*/}"; '
           'done < "$1"; printf "w%s\\n\\f" "1.png"')  # fmt: skip
  images = [np.zeros((8, 8, 1), np.uint8)] * 2
  assert peers.read_with_tesseract(images) == ["w0.png", "w1.png"]


def test_failing_tesseract_gives_no_figure(monkeypatch, tmp_path):
  _install(tmp_path, monkeypatch, "exit 3")
  assert peers.read_with_tesseract([np.zeros((8, 8, 3), np.uint8)]) is None


def test_processes_share_the_images_and_keep_their_order(monkeypatch, tmp_path):
  _install(tmp_path, monkeypatch, 'while read -r x; do printf "w%s\\n\\f" "${x##*/}"; '
           'done < "$1"; printf "w%s\\n\\f" "$(tail -c 5 "$1")"')  # fmt: skip
  images = [np.zeros((8, 8, 1), np.uint8)] * 5
  found = peers.read_with_tesseract(images, margin=0, scale=1, processes=2)
  assert found == [f"w{k}.png" for k in range(5)]


def test_margin_and_scale_shape_the_picture(tmp_path):
  pixels = np.zeros((8, 10, 3), np.uint8)
  peers._write(pixels, tmp_path / "plain.png", 0, 1)
  peers._write(pixels, tmp_path / "large.png", 3, 2)
  with Image.open(tmp_path / "plain.png") as a, Image.open(tmp_path / "large.png") as b:
    assert a.size == (10, 8) and b.size == (32, 28)


def test_absent_peers_are_none(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
  assert peers.open_tesseract(1) is None
  assert peers.open_ppocr(1) is None


def test_colours_go_blue_first_and_grey_thrice():
  image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
  assert peers._to_bgr(image).tolist() == [[[2, 1, 0], [5, 4, 3]]]
  assert peers._to_bgr(image[..., :1]).tolist() == [[[0, 0, 0], [3, 3, 3]]]


def test_ppocr_reads_a_word_where_it_is_installed():
  pytest.importorskip("rapidocr_onnxruntime", reason="an optional peer")
  opened = peers.open_ppocr(1)
  if opened is None:
    pytest.skip("rapidocr-onnxruntime cannot be loaded here")
  picture = Image.new("RGB", (120, 40), "white")
  ImageDraw.Draw(picture).text((10, 6), "word", "black", ImageFont.load_default(24))
  assert opened[0]([np.asarray(picture)] * 2) == ["word", "word"]
