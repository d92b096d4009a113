"""Losses of held-out examples: the method's own, on the same questions every time."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from toys.bright import Pictures

from mdm.data import datasets
from mdm.evaluation.losses import Losses
from mdm.masks.keys import example_keys, uniform_rows
from mdm.methods.base import Mean, Method, mean_of


class Guess(Method):
  """How far the first pixel is from a guess, and what it draws for each example."""

  @nn.compact
  def __call__(self, batch, *, train):
    assert not train
    assert "progress" not in batch
    first = jnp.asarray(batch["image"])[:, 0, 0, 0].astype(jnp.float32)
    guess = self.param("guess", lambda key: jnp.zeros(()))
    keys = example_keys(self.make_rng("mask"), jnp.asarray(batch["index"]))
    weight = jnp.asarray(batch["weight"])
    heavier = weight * (1 + jnp.asarray(batch["label"]))
    return {
      "loss": mean_of(jnp.abs(first - guess), heavier),
      "drawn": mean_of(uniform_rows(keys, 1)[:, 0], weight),
      "count": Mean(weight.sum(), jnp.ones(())),
    }


VARIABLES = {"params": {"guess": jnp.float32(100)}}


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, count=23))


def numbers(**settings):
  return Losses(**settings).build(Guess(), {})(VARIABLES)


def test_means_are_weighed_as_the_method_weighs_however_the_split_is_cut():
  rows = Pictures("validation", count=23)
  error = np.abs(rows.images[:, 0, 0, 0].astype(float) - 100)
  wanted = np.average(error, weights=1 + rows.labels)
  whole = numbers(batch=23)
  np.testing.assert_allclose(whole["loss"], wanted, rtol=1e-6)
  for batch in (5, 40):
    found = numbers(batch=batch)
    np.testing.assert_allclose(found["loss"], whole["loss"], rtol=1e-6)
    np.testing.assert_allclose(found["drawn"], whole["drawn"], rtol=1e-6)


def test_what_is_drawn_depends_on_the_seed_alone():
  assert numbers() == numbers()
  assert numbers(seed=1)["drawn"] != numbers()["drawn"]
  assert numbers(seed=1)["loss"] == numbers()["loss"]


def test_a_limit_leaves_the_rest_out_and_another_split_is_another():
  rows = Pictures("validation", count=23)
  error = np.abs(rows.images[:13, 0, 0, 0].astype(float) - 100)
  wanted = np.average(error, weights=1 + rows.labels[:13])
  np.testing.assert_allclose(numbers(limit=13, batch=5)["loss"], wanted, rtol=1e-6)
  assert numbers(split="test")["loss"] != numbers()["loss"]


def test_an_empty_split_is_an_error(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, count=0))
  with pytest.raises(ValueError, match="split 'validation' has no examples"):
    numbers()
