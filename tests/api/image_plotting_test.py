"""`mdm plot` of methods on images, and the pictures of their training."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mdm
from mdm import api, cli
from mdm.api import image_plotting, plotting
from mdm.data import datasets
from mdm.evaluation import image_plots
from mdm.evaluation.image_plots import GAP, LINE
from mdm.methods.image.base import ImageMethod
from mdm.methods.image.classify import Classify
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


@pytest.fixture
def named(tiny_mae, monkeypatch):
  """A classifier that is surer of the second class the redder an image is."""
  model = mdm.load(tiny_mae)
  drawn = {}

  class Reddish(Classify):
    """Looks at the first channel alone."""

    def classify(self, batch):
      red = jnp.asarray(batch["image"])[..., 0].mean((1, 2)) / 255
      return jnp.stack([1 - red, red], axis=1)

  def draw(images, captions, columns):
    """Notes what is drawn."""
    drawn.update(images=images, captions=list(captions))
    return Image.new("L", (4, 4))

  monkeypatch.setattr(image_plots, "draw_captioned", draw)
  method = Reddish(encoder=model.method.encoder, num_classes=2)
  return dataclasses.replace(model, method=method), drawn


def test_images_are_named_and_wrong_ones_told(named, tmp_path):
  model, drawn = named
  image_plotting.plot_classes(model, [], tmp_path / "a.png", 4, {"split": "train"})
  dataset = datasets.load(model.cfg.data.to_dict(), "train")
  places = np.rint(np.linspace(0, len(dataset) - 1, 4)).astype(int)
  rows = dataset.fetch(places)
  np.testing.assert_array_equal(np.stack(drawn["images"]), rows["image"])
  for image, label, caption in zip(
    rows["image"], rows["label"], drawn["captions"], strict=True
  ):
    red = image[..., 0].mean() / 255
    told = f"dog {red:.2f}" if red > 0.5 else f"cat {1 - red:.2f}"
    is_right = (red > 0.5) == bool(label)
    assert caption == (told if is_right else f"{told}\nit is {('cat', 'dog')[label]}")


def test_given_images_have_names_with_the_data_set_and_numbers_without(named, tmp_path):
  model, drawn = named
  red = np.zeros((16, 16, 3), np.uint8)
  red[..., 0] = 255
  image_plotting.plot_classes(model, [red], tmp_path / "a.png", 4, {})
  assert drawn["captions"] == ["dog 1.00"]
  cfg = model.cfg.copy_and_resolve_references()
  cfg.unlock()
  cfg.data.update(folder=str(tmp_path / "none"), channels=3)
  moved = dataclasses.replace(model, cfg=cfg)
  image_plotting.plot_classes(moved, [red], tmp_path / "a.png", 4, {})
  assert drawn["captions"] == ["class 1 1.00"]


def test_a_method_with_nothing_to_draw_says_so(tiny_mae, tmp_path, monkeypatch):
  model = mdm.load(tiny_mae)
  method = ImageMethod(encoder=model.method.encoder)
  monkeypatch.setattr(
    plotting, "load", lambda run: dataclasses.replace(model, method=method)
  )
  with pytest.raises(ValueError, match="ImageMethod neither fills in nor names images"):
    api.plot(tiny_mae, [], tmp_path / "a.png")
