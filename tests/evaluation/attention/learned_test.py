"""Scores of a network's heads, as problems are drawn from."""

import jax
import numpy as np
import pytest
from flax.core import meta
from toys.mixing import OneHead

from mdm.data import datasets
from mdm.evaluation.attention import learned as attention_learned
from mdm.evaluation.attention.learned import learned_scores
from mdm.evaluation.recall import UNREAD
from mdm.methods.base import Method
from mdm.methods.text.recall import Recall
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.zoology import Zoology

DATA = {"name": "mqar", "vocab_size": 32, "length": 16, "pairs": 2, "num_test": 5}


def make_recall(mixer):
  """A network of two layers, as it starts, and what it is asked."""
  method = Recall(network=Zoology(vocab_size=32, width=8, depth=2, taps=0, mixer=mixer))
  batch = datasets.load(DATA, "test").fetch(np.arange(5))
  batch = {name: x for name, x in batch.items() if name not in UNREAD}
  variables = jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()
  return method, variables, batch


def test_scores_are_those_of_each_layer_and_head_on_test_sequences_in_turn(monkeypatch):
  monkeypatch.setattr(attention_learned, "ROWS", 2)  # the last batch is padded
  mixer = DynamicMaskAttention(
    heads=2, kv_heads=2, positions="none", window=4, a_init="normal"
  )
  method, variables, batch = make_recall(mixer)
  found = learned_scores(method, variables, DATA)
  assert found.shape == (2 * 2, 5 * 16) and (found > 0).all()

  network = jax.tree.map(np.asarray, meta.unbox(variables["params"]["network"]))
  x = network["embedding"][np.asarray(batch["tokens"])]  # b n d
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  own = network["block_0"]["mixer"]
  value = np.einsum("bnd,dgk->bngk", x, own["value"]["kernel"])
  z = np.einsum("bngk,gkh->bnh", value, own["dt"]["kernel"].reshape(2, 4, 2))
  expected = np.exp(own["A"] * np.logaddexp(z, 0))  # b n g
  np.testing.assert_allclose(
    found[:2], expected.transpose(2, 0, 1).reshape(2, -1), rtol=1e-5
  )
  assert np.abs(found[2:] - found[:2]).max() > 1e-6  # the next layer has its own


class Noisy(Method):
  """Asks for noise, as a network without scores may."""

  def __call__(self, batch, *, train):
    return {"noise": jax.random.uniform(self.make_rng("mask"))}


def test_a_run_without_dynamic_masks_is_refused():
  method, variables, _ = make_recall(OneHead())
  for one, known in ((method, variables), (Noisy(), {})):
    with pytest.raises(ValueError, match="no dynamic mask attention"):
      learned_scores(one, known, DATA)
