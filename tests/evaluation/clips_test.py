"""Clips looked at while a model of speech learns: the same task, drawn and played."""

import numpy as np
import pytest
from toys import murmurs
from toys.bright import Looker
from toys.digits import Digits
from toys.listeners import SPELLED, train_ctc
from toys.sounds import RATE

from mdm.data import datasets
from mdm.data.text.characters import Characters
from mdm.evaluation.clips import Clips
from mdm.methods.speech.best_rq import BestRq


@pytest.fixture(autouse=True)
def _clips(monkeypatch):
  def load(data, split):
    digits = Digits(split, count=5, **data)
    digits.tokenizer = Characters(SPELLED)
    return digits

  monkeypatch.setattr(datasets, "load", load)


@pytest.fixture(scope="module")
def naming():
  method = BestRq(**murmurs.parts("random"), **murmurs.SETTINGS)
  return method, murmurs.start(method)


def test_hidden_clips_are_drawn_played_and_counted(naming):
  method, variables = naming
  evaluate = Clips(count=2).build(method, {})
  found, again = evaluate(variables), evaluate(variables)
  assert 0 < found["hidden"] < 1 and 0 <= found["named"] <= 1
  assert dict(found) == dict(again)
  np.testing.assert_array_equal(found.picture, again.picture)
  assert found.picture.shape[2] == 3 and found.picture.std() > 10
  digits = Digits("validation", count=5)
  assert list(found.sounds) == ["0", "1"]
  for index, sound in found.sounds.items():
    row = digits.fetch(np.array([int(index)]))
    wanted = row["audio"][0][: row["audio_length"][0]]
    np.testing.assert_array_equal(sound.samples, wanted)
    assert sound.rate == RATE


def test_another_seed_hides_something_else_and_silence_is_kept(naming):
  method, variables = naming
  first, other = (
    Clips(count=1, seed=seed, plays=False).build(method, {})(variables)
    for seed in (0, 1)
  )
  assert (first.picture.shape != other.picture.shape) or (
    first.picture != other.picture
  ).any()
  assert first.sounds == {}


def test_a_recogniser_shows_what_it_writes():
  method, variables = train_ctc(60)
  found = Clips(count=2).build(method, {})(variables)
  texts = Digits("validation", count=5).texts[:2]
  assert found["tokens"] == np.mean([len(text) for text in texts]) == 1.5
  assert found.picture.std() > 10


def test_what_cannot_be_shown_is_refused(naming):
  with pytest.raises(ValueError, match="count = 0 clips"):
    Clips(count=0).build(naming[0], {})
  with pytest.raises(ValueError, match="Looker neither hides speech"):
    Clips().build(Looker(), {})
