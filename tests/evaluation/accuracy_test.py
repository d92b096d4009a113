"""Accuracy of classifiers: counts against brute force, over every record once."""

import numpy as np
import pytest
from toys.bright import Looker, Pictures
from toys.masked import Mixer, ToyMasked

from mdm.data import datasets
from mdm.evaluation.accuracy import Accuracy, score_classes


@pytest.fixture(autouse=True)
def _pictures(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, **data))


def test_scores_are_counted_as_by_sorting_each_row_by_hand():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(50, 9)).astype(np.float32)
  labels = rng.integers(0, 9, 50)
  ranks = [
    sorted(range(9), key=lambda c: -row[c]).index(label)
    for row, label in zip(scores, labels, strict=True)
  ]
  found = score_classes(scores, labels)
  share = np.mean(np.array(ranks) == 0)
  assert found["accuracy"] == pytest.approx(share)
  assert found["top5"] == pytest.approx(np.mean(np.array(ranks) < 5))
  assert found["accuracy_stderr"] == pytest.approx(np.sqrt(share * (1 - share) / 50))
  assert found["count"] == 50


def test_equal_scores_are_no_way_to_be_right_more_often_than_by_chance():
  labels = np.arange(10)
  found = score_classes(np.zeros((10, 10), np.float32), labels)
  assert (found["accuracy"], found["top5"]) == (0.1, 0.5)


def test_five_classes_have_no_five_best():
  assert "top5" not in score_classes(np.eye(5, dtype=np.float32), np.arange(5))


def test_scores_need_a_label_each():
  with pytest.raises(ValueError, match="0 rows of scores for 0 labels"):
    score_classes(np.zeros((0, 3), np.float32), np.zeros(0, np.int32))


@pytest.mark.parametrize("batch", [7, 60, 250])
def test_every_record_counts_once_whatever_the_batch(batch):
  found = Accuracy(batch=batch).build(Looker(blind=3), {"num_classes": 8})({})
  labels = Pictures("validation", num_classes=8).labels
  wrong = np.arange(60) % 3 == 0  # turned: class c is taken for 7 - c, never itself
  assert found["count"] == len(labels)
  assert found["accuracy"] == pytest.approx(1 - wrong.mean())


def test_the_split_is_the_one_asked_for_and_a_limit_leaves_the_rest_out():
  found = Accuracy(split="test", limit=9).build(Looker(), {})({})
  assert found["count"] == 9 and found["accuracy"] == 1


def test_a_method_without_classes_is_refused():
  with pytest.raises(ValueError, match="cannot name what images show"):
    Accuracy().build(ToyMasked(Mixer()), {})
