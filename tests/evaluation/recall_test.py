"""Accuracy of recall: what counts, at which length, for which class of examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint, masked
from toys.mixing import OneHead

from mdm import api
from mdm.data import datasets
from mdm.evaluation.recall import (
  Answered,
  RecallAccuracy,
  measure_costs,
  summarize,
)
from mdm.methods.base import Method
from mdm.methods.diffusion.mdlm import MDLM
from mdm.methods.text.recall import Recall
from mdm.nn.mixers.window import WindowAttention
from mdm.nn.zoology import Zoology

MQAR = {"name": "mqar", "vocab_size": 64, "length": 16, "pairs": 2, "num_test": 30}


class Looker(Method):
  """Looks each asked key up in the pairs, but as far back as it sees."""

  sight: int = 1_000

  def __call__(self, batch, *, train):
    raise NotImplementedError

  def answer(self, batch):
    tokens, places = (jnp.asarray(batch[k]) for k in ("tokens", "places"))
    asked = jnp.take_along_axis(tokens, places, axis=1)  # b q
    at = (tokens[:, None] == asked[..., None]).argmax(axis=-1)  # b q
    guess = jnp.take_along_axis(tokens, at + 1, axis=1)
    is_right = (guess == jnp.asarray(batch["answers"])) & (places - at < self.sight)
    return is_right, jnp.ones_like(is_right)


def test_who_looks_everything_up_is_always_right():
  found = RecallAccuracy().build(Looker(), MQAR)({})
  assert found["accuracy"] == found["exact"] == 1 and found["count"] == 30


def test_accuracy_is_the_mean_share_of_an_example_and_exact_the_share_of_all_right():
  found = RecallAccuracy(batch=7).build(Looker(sight=6), MQAR)({})
  dataset = datasets.load(MQAR, "test").fetch(np.arange(30))
  near = dataset["places"] - 2 * np.arange(2) < 6  # pair k stands at 2k
  assert found["accuracy"] == pytest.approx(near.mean())
  assert found["exact"] == pytest.approx(near.all(axis=1).mean())
  assert found["accuracy_stderr"] == pytest.approx(near.mean(axis=1).std() / 30**0.5)


def test_longer_sequences_have_numbers_of_their_own():
  data = MQAR | {"pairs": 1, "power": 1.0, "num_test": 200}
  found = RecallAccuracy(factors=(1, 3)).build(Looker(sight=16), data)({})
  assert found["accuracy"] == 1
  assert found["accuracy_3x"] == pytest.approx(7 / 23, abs=0.1)  # 7 of 23 gaps


def test_a_limit_leaves_the_rest_out():
  found = RecallAccuracy(limit=4).build(Looker(), MQAR)({})
  assert found["count"] == 4


def test_classes_of_examples_are_counted_apart():
  exact = np.array([True, True, False, False])
  found = Answered(exact * 1.0, exact, np.array([0, 1, 1, 3]))
  numbers = summarize(found, "_2x", ("near", "far", "none", "gone"))
  assert numbers["exact_2x"] == 0.5 and numbers["exact_2x_far"] == 0.5
  assert (numbers["exact_2x_near"], numbers["exact_2x_gone"]) == (1, 0)
  assert "exact_2x_none" not in numbers


def test_keys_and_bytes_are_counted_from_the_networks_mixer():
  mixer = WindowAttention(heads=2, kv_heads=1, window=4)
  costs = measure_costs(Recall(Zoology(64, mixer, width=16)), 32)
  assert costs["keys_per_query"] == 4
  per_slot = 2 * 8 * 4 + 4  # key and value of one head, float32, and a position
  assert costs["cache_bytes_per_token"] == pytest.approx(4 * per_slot / 32)


def test_mixers_of_unknown_kind_have_no_costs():
  assert measure_costs(Recall(Zoology(64, OneHead())), 32) == {}
  assert measure_costs(MDLM(joint.Exact()), 32) == {}


def test_a_trained_network_is_asked_the_questions_of_the_split():
  method = Recall(Zoology(64, OneHead(), width=16))
  batch = datasets.load(MQAR, "test").fetch(np.arange(30))
  values = method.init(jax.random.key(0), batch, train=False)
  found = RecallAccuracy(batch=10).build(method, MQAR)(values)
  expected = method.apply(values, batch, train=False)["accuracy"].value()
  assert found["accuracy"] == pytest.approx(float(expected))


def test_needles_are_found_by_depth(tmp_path):
  rng = np.random.default_rng(0)
  text = "".join("abcdefghij "[k] for k in rng.integers(0, 11, 30_000))
  (tmp_path / "text.txt").write_text(text)
  data = {
    "name": "needle", "filler": "text", "path": str(tmp_path / "text.txt"),
    "data_dir": str(tmp_path), "length": 128, "depths": 3, "num_test": 12,
  }  # fmt: skip
  datasets.prepare(**data)

  class Reader(Method):
    """Knows the answers of needles that come first."""

    def answer(self, batch):
      is_first = jnp.asarray(batch["tokens"])[:, :1] == 0  # a needle's newline
      return jnp.broadcast_to(is_first, batch["tokens"].shape), ~batch["prompt"]

  found = RecallAccuracy().build(Reader(), data)({})
  assert found["exact_depth_0"] == 1 and found["exact_depth_100"] == 0
  assert found["exact"] == pytest.approx(1 / 3)


def test_who_cannot_answer_is_refused():
  with pytest.raises(ValueError, match="cannot answer questions"):
    RecallAccuracy().build(masked.ToyMasked(masked.Mixer()), MQAR)


@pytest.mark.parametrize("factors", [(), (0, 1)])
def test_factors_are_multiples(factors):
  with pytest.raises(ValueError, match="factors = "):
    RecallAccuracy(factors=factors)


def test_it_is_an_evaluation_of_configs(tiny_text):
  override = "eval={'asked': {'name': 'recall', 'split': 'train', 'limit': 8}}"
  found = api.evaluate(tiny_text.twin, overrides=[override])
  assert 0 <= found["asked/accuracy"] < 1 and found["asked/count"] == 8
