"""`mdm sample --out` and `plot` of a pixel diffusion, as a user types them."""

import json
import shlex

import pytest
from PIL import Image

from mdm import cli


def run(*args):
  return cli.main([str(a) for a in args])


def test_sample_writes_a_grid(tiny_pixels, tmp_path, capsys):
  out = tmp_path / "grid.png"
  args = ["--out", out, "--num", 5, "--steps", 1, "--json"]
  assert run("sample", tiny_pixels, *args) == 0
  found = json.loads(capsys.readouterr().out)
  assert (found["picture"], found["num"]) == (str(out), 5) and found["calls"] >= 1
  with Image.open(out) as picture:
    assert picture.size == (304, 204)


@pytest.mark.parametrize(("name", "frames"), [("steps.png", 1), ("steps.gif", 3)])
def test_plot_shows_images_appear(tiny_pixels, tmp_path, name, frames):
  out = tmp_path / name
  args = ["--out", out, "--count", 2, "--steps", 2]
  assert run("plot", tiny_pixels, *args) == 0
  with Image.open(out) as picture:
    assert getattr(picture, "n_frames", 1) >= frames
    if frames == 1:  # start, two passes, the end
      assert picture.size == (404, 204)


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("sample PIXELS", "`mdm sample RUN --out grid.png`"),
    ("sample PIXELS --out grid.txt", "name a .png"),
    ("sample PIXELS --out nowhere/grid.png", "does not exist"),
    ("sample PIXELS --out a.png --prompt cat", "'prompt' is not a setting of samplers"),
    ("sample PIXELS --out a.png --length 9", "'length' is not a setting of samplers"),
    ("sample PIXELS --out a.png --show-steps", "mdm plot RUN"),
    ("sample PIXELS --out a.png --num 0", "num = 0"),
    ("sample TEXT --out a.png", "holds no pixels to draw"),
    ("plot PIXELS a.png", "reads no images"),
    ("plot PIXELS --decoder lc", "'decoder' is not a setting of samplers"),
    ("plot PIXELS --template [MASK]", "'template' is not a setting of samplers"),
    ("plot PIXELS --out b.pnq", "name a .png"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(
  tiny_pixels, tiny_text, capsys, monkeypatch, tmp_path, args, answer
):
  monkeypatch.chdir(tmp_path)
  names = {"PIXELS": tiny_pixels, "TEXT": tiny_text.run}
  assert run(*(names.get(part, part) for part in shlex.split(args))) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1
