"""Needles in prose: what stands where, at which depth, and what is asked."""

import numpy as np
import pytest

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch

LENGTH = 256


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  folder = tmp_path_factory.mktemp("needle")
  rng = np.random.default_rng(0)
  letters = "abcdefghij "
  text = "".join(letters[k] for k in rng.integers(0, len(letters), 40_000))
  (folder / "text.txt").write_text(text)
  given = {
    "name": "needle", "filler": "text", "path": str(folder / "text.txt"),
    "data_dir": str(folder / "home"), "length": LENGTH, "depths": 5, "num_test": 40,
  }  # fmt: skip
  datasets.prepare(**given)
  return given


@pytest.fixture(scope="module")
def test_split(section):
  return datasets.load(section, "test")


def test_the_question_asks_for_the_number_that_was_told(test_split):
  for index in range(10):
    record = test_split.record(index)
    prompt, answer = record["prompt"], record["answer"]
    assert len(answer) == 5 and answer.isdigit()
    assert prompt.count(f"\nThe secret number is {answer}.\n") == 1
    assert prompt.endswith("\nWhat is the secret number? The secret number is ")
    assert record["num_tokens"] == LENGTH


def test_depths_take_turns_from_before_to_behind_all_filler(test_split):
  assert test_split.classes == (
    "depth_0",
    "depth_25",
    "depth_50",
    "depth_75",
    "depth_100",
  )
  found = test_split.fetch(np.arange(10))
  assert found["label"].tolist() == [0, 1, 2, 3, 4] * 2
  starts = [test_split.record(k)["prompt"].index("\nThe secret") for k in range(10)]
  room = starts[4]
  assert starts[0] == 0 and starts[4] == starts[9] > 150
  for k, start in enumerate(starts):
    assert room * (k % 5) / 4 - 64 <= start <= room * (k % 5) / 4 + 1


def test_a_needle_cuts_no_word(test_split):
  for index in range(10):
    before = test_split.record(index)["prompt"].split("\nThe secret")[0]
    assert index % 5 in (0, 4) or before.endswith(" ")


def test_the_rest_is_a_window_of_the_splits_own_text(section):
  found = datasets.load(section, "train").record(3)["prompt"]
  before, behind = found.split("\nThe secret number is ")[:2]
  filler = before + behind.split(".\n", 1)[1].split("\nWhat is")[0]
  path = section["path"]
  with open(path) as file:
    assert filler in file.read()


def test_training_draws_other_examples_at_every_place(section):
  dataset = datasets.load(section, "train")
  first, second = (dataset.draw(np.arange(8), np.arange(8) + k, 0) for k in (0, 8))
  assert (first["tokens"] != second["tokens"]).any(axis=1).all()
  again = dataset.draw(np.arange(8), np.arange(8), 0)
  assert (again["tokens"] == first["tokens"]).all()
  assert (first["prompt"].sum(axis=1) == LENGTH - 5).all()


def test_all_text_is_learned_where_it_is_asked_for(section):
  dataset = datasets.load(section | {"learns_text": True}, "train")
  assert not dataset.draw(np.arange(4), np.arange(4), 0)["prompt"].any()
  assert dataset.fetch(np.arange(4))["prompt"].any()


def test_batches_are_those_of_the_table(section, test_split):
  dataset = datasets.load(section, "train")
  check_batch(pipeline.batch_at(dataset, 0, seed=0, batch=4))
  check_batch(next(pipeline.eval_batches(test_split, 16)))
  assert isinstance(dataset, datasets.Dataset)
  counts = datasets.count_examples(section)
  assert (counts["train"], counts["test"]) == (100_000, 40)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"length": 70}, "data.length = 70 must lie between"),
    ({"length": 60_000}, "data.length = 60000 must lie between"),
    ({"filler": "bible"}, "data.filler = 'bible' is no corpus"),
    ({"digits": 9}, "data.digits = 9"),
    ({"depths": 1}, "data.depths = 1"),
  ],
)
def test_what_cannot_be_is_refused(section, changes, words):
  with pytest.raises(ValueError, match=words):
    datasets.load(section | changes, "test")
