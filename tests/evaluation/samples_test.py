import math

import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint

from mdm import api
from mdm.decoding.settings import SamplerSettings
from mdm.evaluation.samples import (
  SampleQuality,
  draw_rows,
  judge_rows,
  load_judge,
  make_sampler,
  score_texts,
  unigram_entropy,
)
from mdm.methods.diffusion.mdlm import MDLM


@pytest.fixture(scope="module")
def judge(tiny_text):
  return load_judge(tiny_text.twin)


def test_entropy_is_zero_for_one_token_and_greatest_for_all_alike():
  assert unigram_entropy(np.zeros(8, int)) == 0
  assert unigram_entropy(np.arange(8)) == pytest.approx(3)
  assert unigram_entropy(np.array([0, 0, 0, 1])) == pytest.approx(0.8112781)


def test_a_row_is_drawn_from_its_own_key_in_any_batch():
  draw = make_sampler(MDLM(joint.Exact()), "ancestral", SamplerSettings(num_steps=2))
  canvas = np.full((6, 2), 2, np.int32)
  whole, parts = (
    np.concatenate([part.tokens for part in draw_rows(draw, {}, canvas, batch=batch)])
    for batch in (6, 4)
  )
  assert (whole == parts).all() and len(np.unique(whole, axis=0)) > 1
  other = draw_rows(draw, {}, canvas, seed=1)[0].tokens
  assert (other != whole).any()


def test_prompt_and_padding_go_with_their_rows():
  draw = make_sampler(
    MDLM(joint.Exact()), "ancestral", SamplerSettings(num_steps=2, guidance=1.0)
  )
  canvas = np.array([[0, 2], [1, 2], [2, 2]], np.int32)
  rows = {"valid": np.array([[1, 1], [1, 0], [1, 1]], bool), "prompt": canvas < 2}
  (found,) = draw_rows(draw, {}, canvas, **rows)
  assert found.tokens[0, 0] == 0 and found.tokens[1].tolist() == [1, 2]
  assert (found.tokens[2] < 2).all()


def test_a_judge_finds_each_text_as_likely_as_its_model_does(tiny_text, judge):
  texts = ["and the earth was", "god said let there be light and there was light"]
  scored = score_texts(judge, texts)
  direct = api.load(tiny_text.twin).score(texts)
  assert scored.nats.sum() == pytest.approx(sum(score.nats for score in direct))


def test_judged_rows_have_entropy_and_bits_of_their_texts(judge):
  rows = [np.array([1, 2, 3, 4]), np.array([1, 1, 1, 1])]
  found = judge_rows(rows, judge.tokenizer, judge)
  nats = score_texts(judge, ["abcd", "aaaa"]).nats.sum()
  assert found["entropy_bits"] == pytest.approx(1)
  assert found["entropy_bits_stderr"] == pytest.approx(1)
  assert found["bits_per_char"] == pytest.approx(nats / math.log(2) / 8)


def test_without_a_judge_there_is_entropy_alone():
  assert set(judge_rows([jnp.zeros(3, int).__array__()], None, None)) == {
    "entropy_bits"
  }


def test_samples_and_real_text_are_judged_alike(tiny_text):
  model = api.load(tiny_text.run)
  quality = SampleQuality(
    judge=str(tiny_text.twin), num=4, num_steps=3, split="train", temperature=0.5
  )
  found = quality.build(model.method, model.cfg.data.to_dict())(model.variables)
  names = ("bits_per_char", "perplexity", "entropy_bits", "entropy_bits_stderr")
  assert all(found[name] > 0 and found[f"real_{name}"] > 0 for name in names)
  assert found["calls"] == 3 and found["count"] == 4


def test_what_makes_no_sense_is_refused_before_anything_is_drawn(tiny_text):
  model = api.load(tiny_text.run)
  data = model.cfg.data.to_dict()
  with pytest.raises(ValueError, match="did you mean 'remdm_cap'"):
    SampleQuality(sampler="remdm_cop").build(model.method, data)
  with pytest.raises(ValueError, match="more than the 24 positions"):
    SampleQuality(sampler="low_confidence", num_steps=25).build(model.method, data)
  with pytest.raises(ValueError, match="does not exist"):
    SampleQuality(judge="runs/nowhere", num_steps=3).build(model.method, data)


def test_a_reader_is_no_judge(tiny):
  with pytest.raises(ValueError, match="cannot say how likely"):
    load_judge(tiny.run)
