"""Multi-query associative recall: structure, law of the gaps, who draws what."""

import numpy as np
import pytest

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch
from mdm.data.recall import RecallSettings, gap_law, load, make_recalls

V, L, N = 64, 32, 3


def settings(**changes):
  return RecallSettings(**{"vocab_size": V, "length": L, "pairs": N} | changes)


def make(count=200, seed=0, **changes):
  return make_recalls(settings(**changes), np.arange(count), seed=seed)


def test_an_example_tells_pairs_and_asks_each_key_once_among_fillers():
  made = make(1, vocab_size=18, length=16, pairs=2)
  tokens = made.tokens[0]
  key, value = tokens[0:4:2], tokens[1:4:2]
  assert ((key >= 1) & (key < 9)).all() and ((value >= 9) & (value < 18)).all()
  asked = np.flatnonzero(tokens[4:]) + 4
  assert sorted(tokens[asked]) == sorted(key)
  assert (asked % 2 == 0).all() and len(tokens) == 16


def test_each_row_has_exactly_n_labels_at_places_of_its_own():
  made = make()
  assert made.places.shape == made.answers.shape == (200, N)
  assert all(len(set(row)) == N for row in made.places.tolist())
  assert made.places.min() >= 2 * N and made.places.max() < L


def test_each_label_is_the_value_that_followed_its_key():
  made = make()
  for tokens, places, answers in zip(*made, strict=True):
    told = dict(zip(tokens[: 2 * N : 2], tokens[1 : 2 * N : 2], strict=True))
    assert [told[k] for k in tokens[places]] == answers.tolist()
    assert len(told) == N == len(set(told.values()))


def test_keys_and_values_reach_all_their_ids_and_no_other():
  made = make(2_000)
  assert set(np.unique(made.tokens[:, 0 : 2 * N : 2])) == set(range(1, V // 2))
  assert set(np.unique(made.answers)) == set(range(V // 2, V))


def test_passes_tell_the_same_pairs_again():
  made = make(20, passes=3)
  first, *others = np.split(made.tokens[:, : 6 * N], 3, axis=1)
  assert all((first == other).all() for other in others)
  assert made.places.min() >= 6 * N


def test_gaps_follow_the_law():
  rows, space = 20_000, 13
  places = make(rows).places  # the first pair's gap is one draw of the law itself
  counts = np.bincount((places[:, 0] - 2 * N) // 2, minlength=space)
  expected = rows * gap_law(space, 0.01)
  assert ((counts - expected) ** 2 / expected).sum() < 32.9  # 12 degrees, p = 0.001


def test_the_second_gap_follows_the_law_of_what_the_first_left():
  rows, space = 20_000, 13
  gaps = (make(rows).places[:, :2] - 2 * N) // 2
  p = gap_law(space, 0.01)
  pairs = p[:, None] * p / (1 - p[:, None])
  np.fill_diagonal(pairs, 0)
  expected = rows * pairs.sum(0)
  counts = np.bincount(gaps[:, 1], minlength=space)
  assert ((counts - expected) ** 2 / expected).sum() < 32.9


def test_power_one_makes_gaps_equally_likely():
  assert gap_law(5, 1.0) == pytest.approx(np.full(5, 0.2))
  assert gap_law(4, 0.01)[0] / gap_law(4, 0.01)[1] == pytest.approx(2**0.99)


def test_random_fillers_change_nothing_else():
  plain, noisy = make(), make(random_non_queries=True)
  assert (plain.places == noisy.places).all()
  assert (plain.answers == noisy.answers).all()
  told = plain.tokens != 0
  assert (noisy.tokens[told] == plain.tokens[told]).all()
  rest = noisy.tokens[~told]
  counts = np.bincount(rest, minlength=V)
  expected = len(rest) / V
  assert ((counts - expected) ** 2 / expected).sum() < 103.4  # 63 degrees, p = 0.001


def test_an_example_is_a_function_of_its_index_and_seed():
  whole, part = make(50), make_recalls(settings(), np.array([7, 3]), seed=0)
  assert all((a[[7, 3]] == b).all() for a, b in zip(whole, part, strict=True))
  assert (make(50, seed=1).tokens != whole.tokens).any(axis=1).all()


def test_splits_and_seeds_share_no_example():
  found = [
    load(settings(seed=seed, num_train=300, num_test=300), split).fetch(np.arange(300))
    for seed in (0, 1)
    for split in ("train", "validation", "test")
  ]
  rows = {row.tobytes() for batch in found for row in batch["tokens"]}
  assert len(rows) == 6 * 300


def test_as_many_slots_as_queries_are_all_used():
  made = make(10, length=4 * N)
  assert (np.sort(made.places, axis=1) == 2 * N + 2 * np.arange(N)).all()


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"length": 31}, "data.length = 31 is odd"),
    ({"vocab_size": 32}, "data.vocab_size = 32 must exceed data.length = 32"),
    ({"pairs": 9}, "data.length = 32 holds no 9 pairs.*write 36 or more"),
    ({"passes": 5}, "3 pairs told 5 times.*write 36 or more"),
    ({"pairs": 0}, "data.pairs = 0 must be 1 or more"),
    ({"seed": -1}, "data.seed = -1 is negative"),
  ],
)
def test_what_cannot_be_is_refused(changes, words):
  with pytest.raises(ValueError, match=words):
    settings(**changes)


def test_an_unknown_split_names_the_known():
  with pytest.raises(ValueError, match="no split 'dev'; it has train, validation"):
    load(settings(), "dev")


def test_the_pipeline_gives_batches_of_the_table_without_a_build():
  section = {"name": "mqar", "vocab_size": V, "length": L, "num_train": 100}
  assert datasets.count_examples(section)["train"] == 100
  datasets.prepare(**section)
  dataset = datasets.load(section)
  batch = pipeline.batch_at(dataset, 3, seed=0, batch=8)
  check_batch(batch)
  assert batch["places"].shape == (8, 4) and isinstance(dataset, datasets.Dataset)
  assert (
    batch["tokens"] == pipeline.batch_at(dataset, 3, seed=0, batch=8)["tokens"]
  ).all()


def test_a_record_shows_what_is_due_where():
  dataset = load(settings(), "test")
  words = dataset.record(0)["text"].split()
  due = [word.split(">") for word in words if ">" in word]
  told = dict(zip(words[: 2 * N : 2], words[1 : 2 * N : 2], strict=True))
  assert len(due) == N and all(told[key] == value for key, value in due)
