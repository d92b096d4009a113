import stat

import numpy as np

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
