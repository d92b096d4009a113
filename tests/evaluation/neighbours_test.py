"""Nearest neighbours: the votes of a search by hand, however the bank is cut."""

import numpy as np
import pytest
from toys.bright import Looker, Pictures

from mdm.data import datasets
from mdm.evaluation import neighbours
from mdm.evaluation.features import Features
from mdm.evaluation.neighbours import Neighbours, unit_vectors, vote


def some(count, seed, width=6, classes=4):
  rng = np.random.default_rng(seed)
  vectors = rng.normal(size=(count, width)).astype(np.float32)
  return Features(vectors, rng.integers(0, classes, count).astype(np.int32))


def by_hand(bank, queries, classes, k, temperature):
  """Votes in float64, a query and a neighbour at a time."""
  votes = np.zeros((len(queries), classes))
  for row, q in enumerate(queries.astype(np.float64)):
    cosine = [
      (v @ q) / np.linalg.norm(v) / np.linalg.norm(q)
      for v in bank.vectors.astype(np.float64)
    ]
    for j in sorted(range(len(cosine)), key=lambda j: -cosine[j])[:k]:
      votes[row, bank.labels[j]] += np.exp(cosine[j] / temperature)
  return votes


@pytest.mark.parametrize("chunk", [1 << 16, 16])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 1.0)])
def test_votes_are_those_of_a_search_by_hand(k, temperature, chunk, monkeypatch):
  """Float32 cosines err by 1e-7, votes by 1e-7 / 0.07."""
  monkeypatch.setattr(neighbours, "CHUNK", chunk)
  bank, queries = some(50, 0), some(9, 1).vectors
  found = vote(bank, queries, 4, k, temperature)
  wanted = by_hand(bank, queries, 4, k, temperature)
  np.testing.assert_allclose(
    found / found.sum(1, keepdims=True),
    wanted / wanted.sum(1, keepdims=True),
    atol=1e-5,
  )


def test_lengths_of_vectors_do_not_matter():
  bank, queries = some(30, 0), some(5, 1).vectors
  longer = bank._replace(vectors=bank.vectors * np.arange(1, 31)[:, None])
  a, b = (vote(x, queries, 4, 5, 0.07) for x in (bank, longer))
  np.testing.assert_allclose(a, b, rtol=1e-4)


def test_small_temperatures_stay_finite():
  votes = vote(some(30, 0), some(5, 1).vectors, 4, 20, 1e-3)
  assert np.isfinite(votes).all() and (votes.max(1) > 0).all()


def test_a_vector_of_zeros_is_left_as_it_is():
  found = unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0]])


@pytest.fixture
def _pictures(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Pictures(split, **data))


@pytest.mark.usefixtures("_pictures")
def test_pictures_are_classified_by_the_training_pictures_like_them():
  found = Neighbours(batch=17).build(Looker(), {"noise": 1})({})
  assert found["accuracy"] == 1 and found["count"] == 60


@pytest.mark.usefixtures("_pictures")
def test_fewer_images_than_neighbours_are_all_asked():
  """One picture is known, so all others get its class."""
  found = Neighbours().build(Looker(), {"count": 1})({})
  known, asked = Pictures("train", count=1), Pictures("validation", count=1)
  assert found["accuracy"] == float(known.labels[0] == asked.labels[0])


@pytest.mark.parametrize("settings", [{"k": 0}, {"temperature": 0.0}])
def test_no_neighbours_and_no_temperature_are_refused(settings):
  with pytest.raises(ValueError, match=f"{next(iter(settings))} = 0"):
    Neighbours(**settings)
