"""The verbs of models of texts, on one that knows the joint of two letters."""

import math

import numpy as np
import pytest
from toys import joint, writers

from mdm import api
from mdm.evaluation.samples import load_judge, score_texts


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
  return writers.make_exact(tmp_path_factory.mktemp("exact"))


def test_a_hole_is_filled_with_the_probability_it_has_given_the_rest(exact):
  samples = exact.infill("b[MASK]", num=1000, batch=1000)
  share = np.mean([sample.filled == ["b"] for sample in samples])
  assert abs(share - 0.6) < 4 * math.sqrt(0.6 * 0.4 / 1000)
  assert all(sample.text[0] == "b" for sample in samples)


def test_a_prompt_is_gone_on_from_and_a_seed_repeats(exact):
  first, again, other = (
    [s.text for s in exact.sample("a", num=8, seed=seed)] for seed in (0, 0, 1)
  )
  assert first == again != other and all(text[0] == "a" for text in first)
  assert [s.text for s in exact.sample("a", num=3)] == first[:3]


def test_temperature_zero_takes_the_likeliest(exact):
  assert {s.text for s in exact.sample("a", num=8, temperature=0.0)} == {"aa"}


def test_passes_are_saved_without_changing_a_text(tiny_text):
  model = api.load(tiny_text.run)
  ask = dict(num=1, length=6, steps=40, seed=3)
  (saved,), (all_made,) = model.sample(**ask), model.sample(**ask, caches=False)
  assert saved.tokens == all_made.tokens and saved.calls < 8 < all_made.calls


def test_history_is_kept_when_asked_for(exact):
  (sample,) = exact.sample(sampler="first_hitting", keeps_history=True)
  assert len(sample.canvases) == 2 and sample.canvases[-1] == sample.tokens
  assert sample.steps[0].count("_") == 1 and sample.steps[-1] == sample.text
  assert exact.sample()[0].steps == []


def test_scores_are_those_of_the_joint_within_their_error(exact):
  texts = ["aa", "ab", "ba", "bb"]
  for score, nats in zip(exact.score(texts, num_strata=64), joint.NATS, strict=True):
    assert abs(score.nats - nats) < 4 * score.nats_error + 1e-6
    assert score.strata == 64 and score.tokens == score.characters == 2


def test_given_a_prompt_the_rest_alone_is_scored(exact):
  (score,) = exact.score("b", prompt="a", num_strata=4)
  assert score.nats == pytest.approx(-math.log(0.2), abs=1e-5) and score.tokens == 1
  assert score.nats_error < 1e-6


def test_a_long_text_is_cut_into_windows_that_all_count(exact):
  (whole,) = exact.score("abbab", num_strata=16)
  assert whole.windows == 3 and whole.tokens == 5
  assert whole.bits_per_char_stderr > 0


def test_a_left_to_right_model_scores_exactly_and_writes_from_a_prompt(tiny_text):
  model = api.load(tiny_text.twin)
  (score,) = model.score("and god said")
  assert not score.is_bound and score.nats_error == 0
  expected = score_texts(load_judge(tiny_text.twin), ["and god said"]).nats
  assert score.nats == pytest.approx(expected[0])
  first, second = model.sample("and god", num=2, length=12)
  assert first.text.startswith("and god") and len(first.text) == 12
  assert first.text != second.text


@pytest.mark.parametrize(
  ("ask", "answer"),
  [
    (lambda model: model.infill("and [MASK] said"), "given tokens after hidden ones"),
    (lambda model: model.sample(sampler="remdm_cap"), "'ancestral' alone"),
    (lambda model: model.sample("and", guidance=1.0), "no meaning from left to right"),
  ],
)
def test_a_left_to_right_model_refuses_what_it_cannot(tiny_text, ask, answer):
  with pytest.raises(ValueError, match=answer):
    ask(api.load(tiny_text.twin))


def test_bad_requests_are_refused(exact):
  with pytest.raises(ValueError, match="num = 0"):
    exact.sample(num=0)
  with pytest.raises(ValueError, match=r"does not know: \['c'\]"):
    exact.score("abc")
  with pytest.raises(ValueError, match="leaves nothing to fill"):
    exact.sample("ab")
  with pytest.raises(ValueError, match="cannot read images"):
    exact.predict("word.png")


def test_a_reader_neither_writes_nor_scores(tiny):
  reader = api.load(tiny.run)
  for ask in (reader.sample, reader.score, reader.infill):
    with pytest.raises(ValueError, match=r"it can read images \(mdm predict\)"):
      ask("text")
