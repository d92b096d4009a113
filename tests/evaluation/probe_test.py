"""The linear probe: the least loss, the penalty's choice, and what it may look at."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from toys.bright import Looker, Pictures

from mdm.data import datasets
from mdm.evaluation import probe
from mdm.evaluation.features import Features
from mdm.evaluation.probe import LinearProbe, choose_penalty, fit, predict, standardise

CLASSES, WIDTH = 3, 4


def some(count=60, seed=0, spread=1.0):
  """Three clouds that overlap."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, CLASSES, count).astype(np.int32)
  middles = np.random.default_rng(9).normal(size=(CLASSES, WIDTH))
  vectors = middles[labels] + spread * rng.normal(size=(count, WIDTH))
  return Features(vectors.astype(np.float32), labels)


def loss_of(flat, data, penalty):
  """What is minimised, in float64."""
  weight, bias = np.split(flat, [WIDTH * CLASSES])
  weight = weight.reshape(WIDTH, CLASSES)
  logits = data.vectors.astype(np.float64) @ weight + bias
  logs = scipy.special.log_softmax(logits, axis=1)
  nats = -logs[np.arange(len(data.labels)), data.labels].mean()
  return nats + penalty / 2 * np.square(weight).sum()


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_the_solution_is_that_of_another_solver(penalty):
  """The gradient ends below 1e-4, the loss within its square over the curvature."""
  data = some()
  line = fit(data, CLASSES, penalty, 200)
  ours = np.concatenate([np.ravel(line.weight), line.bias]).astype(np.float64)
  start = np.zeros(WIDTH * CLASSES + CLASSES)
  best = scipy.optimize.minimize(loss_of, start, (data, penalty), tol=1e-9)
  assert loss_of(ours, data, penalty) == pytest.approx(best.fun, abs=1e-5)
  wanted = best.x[: WIDTH * CLASSES].reshape(WIDTH, CLASSES)
  np.testing.assert_allclose(line.weight, wanted, atol=0.02)


def test_scores_are_linear_in_the_features():
  data = some()
  line = fit(data, CLASSES, 0.1, 50)
  wanted = data.vectors @ np.asarray(line.weight) + np.asarray(line.bias)
  np.testing.assert_allclose(predict(line, data), wanted, rtol=1e-5)


def test_both_parts_are_scaled_by_the_first():
  train, test = some(), some(seed=1)
  a, b = standardise(train, test)
  np.testing.assert_allclose(a.vectors.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(a.vectors.std(0), 1, rtol=1e-4)
  mean, deviation = train.vectors.mean(0), train.vectors.std(0)
  np.testing.assert_allclose(b.vectors, (test.vectors - mean) / deviation, rtol=1e-3)


def test_the_penalty_is_the_best_on_every_fifth_example(monkeypatch):
  learned = []

  def told(train, num_classes, penalty, steps):
    learned.append(len(train.labels))
    return penalty

  def guess(penalty, held):
    """Right but for penalties away from 0.01; the held-out rows are told apart."""
    np.testing.assert_array_equal(held.labels, data.labels[4::5])
    right = np.eye(CLASSES)[held.labels]
    return right if penalty == 0.01 else -right

  monkeypatch.setattr(probe, "fit", told)
  monkeypatch.setattr(probe, "predict", guess)
  data = some(53)
  assert choose_penalty(data, CLASSES, (0.1, 0.01, 0.001), 9) == 0.01
  assert learned == [43] * 3  # 53 less every fifth


def test_of_equally_good_penalties_the_greatest_is_taken():
  apart = some(spread=0.01)
  assert choose_penalty(apart, CLASSES, (1e-4, 1e-2, 1e-3), 50) == 1e-2


@pytest.fixture
def _pictures(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, **data))


@pytest.mark.usefixtures("_pictures")
def test_a_probe_reads_the_class_where_it_can_be_read():
  found = LinearProbe(pool="cls", batch=17).build(Looker(), {"noise": 50})({})
  assert found["accuracy"] == 1 and found["count"] == 60
  assert found["penalty"] in LinearProbe().penalties


@pytest.mark.usefixtures("_pictures")
def test_only_the_training_labels_are_learned_from(monkeypatch):
  """Measured labels turned about: what was right is wrong."""
  evaluator = LinearProbe(pool="cls", penalties=(1e-3,))
  plain = evaluator.build(Looker(), {"num_classes": 8})({})

  def turned(data, split):
    pictures = Pictures(split, **data)
    if split == "validation":
      pictures.labels = 7 - pictures.labels
    return pictures

  monkeypatch.setattr(datasets, "load", turned)
  other = evaluator.build(Looker(), {"num_classes": 8})({})
  assert (plain["accuracy"], other["accuracy"]) == (1, 0)


@pytest.mark.parametrize("penalties", [(), (-1.0,)])
def test_penalties_that_cannot_be_are_refused(penalties):
  with pytest.raises(ValueError, match="penalties"):
    LinearProbe(penalties=penalties)
