import math

import jax
import numpy as np
import pytest
from toys import joint

from mdm import api
from mdm.evaluation.likelihood import (
  Likelihood,
  Scored,
  count_tokens,
  make_scorer,
  score_batches,
  summarize,
)
from mdm.methods.diffusion.mdlm import MDLM


def batch_of(texts, index, weight):
  return {
    "tokens": texts,
    "valid": np.ones(texts.shape, bool),
    "index": np.asarray(index, np.int32),
    "weight": np.asarray(weight, np.float32),
  }


@pytest.fixture(scope="module")
def score():
  return make_scorer(MDLM(joint.Exact()), 64)


def test_true_conditionals_score_the_joint_within_their_error(score):
  batch = batch_of(joint.TEXTS, range(4), np.ones(4))
  found = score_batches(score, {}, [batch])
  assert (np.abs(found.nats - joint.NATS) < 4 * found.error + 1e-6).all()
  assert (found.error < 0.2).all() and found.tokens.tolist() == [2] * 4


def test_rows_of_no_weight_and_rows_without_tokens_are_left_out(score):
  batch = batch_of(joint.TEXTS, range(4), [1, 0, 1, 1])
  batch["valid"][2] = False
  assert len(score_batches(score, {}, [batch]).nats) == 2


def test_a_window_has_one_score_in_any_batch(score):
  whole = score_batches(score, {}, [batch_of(joint.TEXTS, range(4), np.ones(4))])
  turned = batch_of(joint.TEXTS[::-1], range(3, -1, -1), np.ones(4))
  assert np.allclose(score_batches(score, {}, [turned]).nats[::-1], whole.nats)


def test_another_seed_hides_otherwise(score):
  batch = batch_of(joint.TEXTS, range(4), np.ones(4))
  first, second = (score_batches(score, {}, [batch], seed=k).nats for k in (0, 1))
  assert (first != second).any()


def test_nothing_to_score_is_refused(score):
  with pytest.raises(ValueError, match="no token to score"):
    score_batches(score, {}, [batch_of(joint.TEXTS, range(4), np.zeros(4))])


def test_one_stratum_is_refused_because_it_tells_no_error():
  with pytest.raises(ValueError, match="num_strata = 1 must be 2"):
    make_scorer(MDLM(joint.Exact()), 1)


def test_prompts_and_padding_are_not_counted():
  batch = batch_of(np.zeros((2, 5), np.int32), [0, 1], [1, 1])
  batch["valid"][0, 3:] = False
  batch["prompt"] = np.arange(5) < np.array([[1], [4]])
  assert count_tokens(batch).tolist() == [2, 1]
  assert count_tokens({"image": np.zeros((2, 3, 4, 1), np.uint8)}).tolist() == [12, 12]


def test_numbers_of_all_windows_follow_from_their_sums():
  scored = Scored(np.array([6.0, 4.0]), np.array([0.3, 0.4]), np.array([4.0, 1.0]))
  found = summarize(scored, 10.0)
  assert found["nats"] == 10 and found["nats_error"] == pytest.approx(0.5)
  assert found["bits_per_token"] == pytest.approx(2 / math.log(2))
  assert found["bits_per_char"] == pytest.approx(1 / math.log(2))
  assert found["bits_per_char_error"] == pytest.approx(0.05 / math.log(2))
  assert found["perplexity"] == pytest.approx(math.exp(2))
  assert found["perplexity_error"] == pytest.approx(math.exp(2) * 0.1)


def test_stderr_is_the_spread_of_the_rate_over_samples_of_windows():
  rng = np.random.default_rng(0)
  found, claimed = [], []
  for _ in range(400):
    tokens = rng.integers(5, 9, 50).astype(float)
    nats = tokens * 2 + rng.normal(0, 3, 50)
    numbers = summarize(Scored(nats, np.zeros(50), tokens))
    found.append(numbers["bits_per_token"])
    claimed.append(numbers["bits_per_token_stderr"])
  assert np.mean(claimed) == pytest.approx(np.std(found), rel=0.1)


def test_one_window_tells_no_stderr_and_pixels_have_no_characters():
  found = summarize(Scored(np.ones(1), np.zeros(1), np.ones(1)))
  assert not [name for name in found if "stderr" in name or "char" in name]


def test_a_split_is_scored_whole_or_up_to_the_limit(tiny_text):
  model = api.load(tiny_text.run)
  data = model.cfg.data.to_dict()
  every = Likelihood(split="train", num_strata=2).build(model.method, data)
  first = Likelihood(split="train", num_strata=2, limit=3).build(model.method, data)
  whole, part = every(model.variables), first(model.variables)
  assert part["windows"] == 3 and part["tokens"] == 72 and whole["windows"] > 8
  assert 0 < whole["bits_per_char"] == pytest.approx(whole["bits_per_token"])


def test_a_left_to_right_model_is_scored_without_error(tiny_text):
  model = api.load(tiny_text.twin)
  evaluate = Likelihood(split="test").build(model.method, model.cfg.data.to_dict())
  found = evaluate(model.variables)
  assert found["bits_per_char_error"] == 0 < found["bits_per_char_stderr"]
  assert jax.tree.all(jax.tree.map(np.isfinite, found))
