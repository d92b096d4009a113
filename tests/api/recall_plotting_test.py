"""`mdm plot` of models that answer questions, and of those that place patches."""

import dataclasses

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image
from toys.mixing import OneHead
from toys.pictures import start

import mdm
from mdm import api
from mdm.api import plotting
from mdm.api.model import Model
from mdm.evaluation import recall_plots
from mdm.methods.image.mp3 import Mp3
from mdm.methods.text.recall import Recall
from mdm.nn.vit import Vit
from mdm.nn.zoology import Zoology

DATA = {"name": "mqar", "length": 16, "vocab_size": 24, "pairs": 2}


@pytest.fixture
def model(tmp_path, monkeypatch):
  method = Recall(Zoology(24, OneHead(), width=32, embed_dropout=0.0))
  batch = {
    name: np.zeros((1, k), np.int32) for name, k in (("tokens", 16), ("places", 2))
  }
  batch["answers"] = batch["places"]
  variables = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
  model = Model(
    ml_collections.ConfigDict({"data": DATA}), method, variables, 0, tmp_path
  )
  monkeypatch.setattr(plotting, "load", lambda run: model)
  return model


def test_answers_are_those_of_the_model(model, tmp_path, monkeypatch):
  drawn = []
  draw = recall_plots.draw_questions

  def look(examples):
    drawn.extend(examples)
    return draw(examples)

  monkeypatch.setattr(recall_plots, "draw_questions", look)
  api.plot("run", [], tmp_path / "a.png", count=3)
  with Image.open(tmp_path / "a.png") as picture:
    assert picture.width > 500
  rows = {k: np.stack([getattr(e, k) for e in drawn]) for k in ("tokens", "places")}
  logits = model.method.apply(model.variables, rows, method="logits")
  np.testing.assert_array_equal(
    np.stack([e.given for e in drawn]), np.asarray(logits).argmax(-1)
  )
  assert len(drawn) == 3 and drawn[2].title.startswith("test 2: ")


def test_settings_that_make_no_sense_are_refused(model, tmp_path):
  with pytest.raises(ValueError, match="count = 0 examples"):
    api.plot("run", [], tmp_path / "a.png", count=0)
  with pytest.raises(ValueError, match=r"did you mean plot\.split"):
    api.plot("run", [], tmp_path / "a.png", splits="test")
  with pytest.raises(ValueError, match="reads no images"):
    api.plot("run", ["x.png"], tmp_path / "a.png")


def test_position_prediction_is_drawn(tiny_mae, tmp_path, monkeypatch):
  model = mdm.load(tiny_mae)
  encoder = Vit(patch=4, width=16, depth=1, heads=2, positions="none", has_cls=False)
  method = Mp3(encoder=encoder)
  batch = {"image": np.zeros((1, 16, 16, 3), np.uint8), "index": np.arange(1)}
  learned = start(method, batch)
  chosen = dataclasses.replace(model, method=method, variables=learned)
  monkeypatch.setattr(plotting, "load", lambda run: chosen)
  api.plot(tiny_mae, [], tmp_path / "a.png", count=2)
  with Image.open(tmp_path / "a.png") as picture:
    assert picture.width > picture.height > 190
