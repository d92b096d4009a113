import numpy as np
import pytest

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch
from mdm.data.text.halves import choose, cut_verses
from mdm.data.text.pairs import Pair

WORDS = ("sun", "moon", "star", "rain", "snow", "wind", "hill", "tree", "ask", "find")


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  """Sixty verses of nine words, of which forty are taken."""
  folder = tmp_path_factory.mktemp("bible")
  rng = np.random.default_rng(0)
  lines = [f"Genesis 1:{k} {' '.join(rng.choice(WORDS, 9))}." for k in range(1, 61)]
  (folder / "kjv.txt").write_text("\n".join(lines))
  section = {
    "name": "kjv_halves", "manual_dir": str(folder), "count": 40, "length": 50,
    "data_dir": str(tmp_path_factory.mktemp("home")), "held_out": 0.2,
  }  # fmt: skip
  datasets.prepare(**section)
  return section


def test_a_verse_is_cut_at_the_space_nearest_its_middle():
  pairs = list(cut_verses(iter(["One, two: three four!", "Short.", "x" * 20]), 24))
  assert pairs == [Pair("one two ", "three four", "verse 1")]


def test_only_halves_that_occur_once_are_chosen_by_hash_in_order():
  found = [Pair(f"a{k} ", f"b{k}", f"verse {k}") for k in range(30)]
  twice = [*found, Pair("a3 ", "other", "verse 30"), Pair("other ", "b5", "verse 31")]
  chosen = choose(iter(twice), 20, 0)
  assert len(chosen) == 20
  assert {"b3", "b5", "other"}.isdisjoint(pair.answer for pair in chosen)
  places = [twice.index(pair) for pair in chosen]
  assert places == sorted(places)
  assert choose(iter(twice), 20, 1) != chosen
  with pytest.raises(ValueError, match=r"data\.count = 31 exceeds the 28 verses"):
    choose(iter(twice), 31, 0)


def test_both_halves_are_learned_and_the_end(section):
  dataset = datasets.load(section, "train")
  batch = next(pipeline.train_batches(dataset, seed=0, batch=8))
  check_batch(batch)
  assert "prompt" not in batch
  for tokens, valid in zip(batch["tokens"], batch["valid"], strict=True):
    assert tokens[valid][-1] == dataset.tokenizer.eos_id == 27
    assert 25 <= valid.sum() <= 50 and not valid[-1]
  assert dataset.facts() == {"vocab_size": 28}


def test_prompts_are_told_where_they_are_asked_for(section):
  dataset = datasets.load(section | {"learns_prompt": False}, "train")
  rows = dataset.fetch(np.arange(len(dataset)))
  for k in range(len(dataset)):
    given = rows["tokens"][k][rows["prompt"][k]]
    assert dataset.tokenizer.decode(given) == dataset.record(k)["prompt"]
  assert sum(datasets.count_examples(section).values()) == 40


def test_settings_out_of_range_are_refused(section):
  with pytest.raises(ValueError, match=r"data\.count = 2"):
    datasets.load(section | {"count": 2}, "train")
