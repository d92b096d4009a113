"""Naming images and filling them in, with a model that was loaded."""

import dataclasses
import json
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mdm
from mdm import api, cli
from mdm.api import pictures
from mdm.methods.image.classify import Classify


class Reddish(Classify):
  """Is surer of the second class the redder an image is."""

  def classify(self, batch):
    red = jnp.asarray(batch["image"])[..., 0].mean((1, 2)) / 255
    return jnp.stack([1 - red, red], axis=1)


def plain(red, size=(16, 16)):
  """An image of one colour."""
  pixels = np.zeros((*size, 3), np.uint8)
  pixels[..., 0] = red
  return pixels


@pytest.fixture(scope="module")
def mae(tiny_mae):
  return mdm.load(tiny_mae)


@pytest.fixture
def named(mae):
  method = Reddish(encoder=mae.method.encoder, num_classes=2)
  return dataclasses.replace(mae, method=method)


def test_predict_ranks_the_classes_of_a_classifier_surest_first(named):
  (found,) = named.predict(plain(204))
  assert found.label == "dog" and found.confidence == pytest.approx(0.8)
  assert [name for name, _ in found.ranked] == ["dog", "cat"]
  assert sum(sure for _, sure in found.ranked) == pytest.approx(1.0)


def test_images_of_mixed_sizes_kinds_and_batches_keep_their_order(named, tmp_path):
  Image.fromarray(plain(255, (40, 21))).save(tmp_path / "red.png")
  given = [plain(0, (17, 33)), tmp_path / "red.png", Image.fromarray(plain(102))]
  for batch in (1, 2, 64):
    found = named.predict(given, batch=batch)
    sure = [dict(one.ranked)["dog"] for one in found]
    np.testing.assert_allclose(sure, [0, 1, 0.4], atol=1e-6)
  assert found[1].source == str(tmp_path / "red.png") and found[0].source == ""


def test_many_images_are_read_a_batch_at_a_time(named, monkeypatch):
  seen = []
  view = pictures.PictureModel.view
  classify = pictures.PictureModel._classify
  monkeypatch.setattr(
    pictures.PictureModel, "view", lambda s, x: (seen.append("read"), view(s, x))[1]
  )
  monkeypatch.setattr(
    pictures.PictureModel,
    "_classify",
    lambda s, x: (seen.append("named"), classify(s, x))[1],
  )
  named.predict([plain(9)] * 6, batch=2)
  assert seen == ["read", "read", "named"] * 3


def test_of_ten_thousand_images_a_batch_is_held_at_a_time(named):
  held, most = 0, 0

  def gone():
    """One of them was let go."""
    nonlocal held
    held -= 1

  def images():
    """Images, counted until they are let go."""
    nonlocal held, most
    for k in range(10_000):
      image = plain(204 if k % 2 else 0)
      weakref.finalize(image, gone)
      held += 1
      most = max(most, held)
      yield image

  found = named.predict(images(), batch=64)
  assert [one.label for one in found] == ["cat", "dog"] * 5000
  assert held == 0 and most <= 2 * 64  # a batch, and the next that is put together


def test_top_bounds_the_ranking_and_must_be_positive(named):
  assert len(named.predict(plain(9), top=1)[0].ranked) == 1
  with pytest.raises(ValueError, match="top = 0 ranks no class"):
    named.predict(plain(9), top=0)


def test_a_setting_of_readers_is_refused_by_classifiers(named):
  with pytest.raises(ValueError, match="'decoder' is not a setting of classifiers"):
    named.predict(plain(9), decoder="lc")


def test_names_of_classes_beside_the_weights_win(named, tmp_path):
  (tmp_path / "classes.json").write_text('["ant", "bee"]')
  moved = dataclasses.replace(named, folder=tmp_path)
  assert moved.predict(plain(255))[0].label == "bee"


@pytest.mark.parametrize(
  ("text", "answer"),
  [
    ('["ant"]', "names 1 classes, and the model has 2"),
    ('{"0": "ant"}', "is no JSON list of names"),
    ("[1, 2]", "is no JSON list of names"),
    ("[", "is no JSON list of names"),
  ],
)
def test_names_that_cannot_be_are_refused(named, tmp_path, text, answer):
  (tmp_path / "classes.json").write_text(text)
  with pytest.raises(ValueError, match=answer):
    dataclasses.replace(named, folder=tmp_path).predict(plain(9))


def test_the_command_prints_a_line_and_json(named, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr("mdm.api.reading.load", lambda run: named)
  Image.fromarray(plain(255)).save(tmp_path / "red.png")
  assert cli.main(["predict", "run", f"{tmp_path / 'red.png'}", "--json"]) == 0
  shown = capsys.readouterr()
  assert "red.png\tdog\t1.000\tcat:0.00" in shown.err
  assert json.loads(shown.out)[0]["label"] == "dog"


def test_without_images_held_out_ones_are_named_with_the_truth(named, monkeypatch):
  monkeypatch.setattr("mdm.api.reading.load", lambda run: named)
  found = api.predict("run", count=2)
  assert {one.truth for one in found} == {"cat", "dog"}


def test_a_reader_is_not_asked_for_classes(mae):
  with pytest.raises(ValueError, match="cannot name what images show"):
    mae.name_images(plain(9))


def test_filled_images_differ_only_where_patches_were_hidden(mae):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (16, 16, 3), np.uint8)
  (found,) = mae.reconstruct(image)
  patch = mae.method.encoder.patch
  hidden = np.kron(found.mask, np.ones((patch, patch), bool))
  np.testing.assert_array_equal(found.image, image)
  np.testing.assert_array_equal(found.filled[~hidden], image[~hidden])
  assert (found.filled[hidden] != image[hidden]).mean() > 0.5
  assert found.mask.mean() == pytest.approx(0.75) and found.error > 0


def test_what_is_hidden_depends_on_seed_and_place_alone(mae):
  image = plain(99)
  together = mae.reconstruct([image] * 3, batch=3)
  apart = mae.reconstruct([image] * 3, batch=1)
  for one, other in zip(together, apart, strict=True):
    np.testing.assert_array_equal(one.mask, other.mask)
  assert (together[0].mask != together[1].mask).any()
  other = mae.reconstruct([image] * 3, seed=1, batch=3)
  assert any((a.mask != b.mask).any() for a, b in zip(together, other, strict=True))


def test_a_picture_that_cannot_be_read_is_named(mae, tmp_path):
  (tmp_path / "a.png").write_text("no picture")
  with pytest.raises(ValueError, match=r"a\.png"):
    mae.reconstruct(tmp_path / "a.png")
