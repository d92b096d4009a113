"""`mdm plot` of a masked autoencoder, and the pictures of its training."""

import numpy as np
import pytest
from PIL import Image

import mdm
from mdm import api, cli
from mdm.evaluation.image_plots import GAP, LINE
from mdm.training.writers import read_rows


def run(*args):
  return cli.main([str(a) for a in args])


def cells(path, column, count):
  """A column's images of 16 x 16 pixels in a sheet."""
  with Image.open(path) as picture:
    sheet = np.asarray(picture)
  step, found = 96 + GAP, []
  for row in range(count):
    top, left = LINE + GAP + row * step, GAP + column * step
    found.append(sheet[top + 3 : top + 96 : 6, left + 3 : left + 96 : 6])
  assert len(sheet) == LINE + GAP + count * step
  return np.stack(found)


def test_a_training_leaves_pictures_of_the_same_images_and_masks(tiny_mae):
  early, late = sorted((tiny_mae / "pictures/filled").iterdir())
  assert (early.name, late.name) == ("step_000002.png", "step_000004.png")
  for column in (0, 1):
    np.testing.assert_array_equal(cells(early, column, 3), cells(late, column, 3))
  assert (cells(early, 2, 3) != cells(late, 2, 3)).any()
  rows = [r for r in read_rows(tiny_mae / "metrics.jsonl") if "filled/error" in r]
  assert [row["step"] for row in rows] == [2, 4]


def test_plot_shows_what_the_training_showed_last(tiny_mae, tmp_path, capsys):
  out = tmp_path / "a.png"
  assert run("plot", tiny_mae, "--out", out, "--count", 3) == 0
  assert f"wrote {out}" in capsys.readouterr().out
  assert out.read_bytes() == (tiny_mae / "pictures/filled/step_000004.png").read_bytes()


def test_a_seed_hides_other_patches_and_a_split_has_other_images(tiny_mae, tmp_path):
  for name, settings in {
    "a": {}, "seed": {"seed": 1}, "split": {"split": "train"}
  }.items():  # fmt: skip
    api.plot(tiny_mae, [], tmp_path / f"{name}.png", count=2, **settings)
  plain, seed, split = (
    [cells(tmp_path / f"{name}.png", k, 2) for k in (0, 1)]
    for name in ("a", "seed", "split")
  )
  np.testing.assert_array_equal(plain[0], seed[0])
  assert (plain[1] != seed[1]).any() and (plain[0] != split[0]).any()


def test_given_images_are_cut_as_the_data_set_cuts_them(tiny_mae, tmp_path):
  rows, columns = np.mgrid[:32, :48]
  pixels = np.stack([rows * 4, columns * 4, rows * 0 + 50], -1).astype(np.uint8)
  Image.fromarray(pixels).save(tmp_path / "wide.png")
  kinds = [tmp_path / "wide.png", pixels, Image.fromarray(pixels)]
  api.plot(tiny_mae, kinds, tmp_path / "a.png")
  shown = cells(tmp_path / "a.png", 0, 3)
  assert (shown == shown[0]).all()
  middle = pixels[:, 8:40].reshape(16, 2, 16, 2, 3).mean((1, 3))
  np.testing.assert_allclose(shown[0, 2:-2, 2:-2], middle[2:-2, 2:-2], atol=3)


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("--out a.txt", "no picture's name"),
    ("--decoder lc", "'plot.decoder' is not"),
    ("--set split=tset", "no split 'tset'"),
    ("--count 0", "count = 0"),
    ("missing.png", "missing.png does not exist"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(
  tiny_mae, args, answer, capsys, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  assert run("plot", tiny_mae, *args.split()) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1


def test_the_run_is_evaluated_without_pictures(tiny_mae):
  numbers = api.evaluate(tiny_mae)
  assert numbers["filled/error"] > 0
  assert mdm.load(tiny_mae).step == 4
