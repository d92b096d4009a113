import itertools
import json
import tracemalloc

import numpy as np
import pytest

from mdm.data import building, datasets, pipeline
from mdm.data.batch import check_batch
from mdm.data.text import corpora, windows
from mdm.data.text.splits import SPLITS


@pytest.fixture(scope="module")
def train(section):
  return datasets.load(section, "train")


def text_of(dataset):
  """The whole text of a split, window by window."""
  return "".join(dataset.record(k)["text"] for k in range(len(dataset)))


def same(one, other):
  return one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


def test_the_splits_together_hold_every_story_once(section, stories):
  texts = {split: text_of(datasets.load(section, split)) for split in SPLITS}
  whole = [path.read_text().strip("\n") for path in sorted(stories.iterdir())]
  for text in texts.values():
    assert text == "\n\n".join(story for story in whole if story in text)
  for story in whole:
    assert [story in text for text in texts.values()].count(True) == 1
  assert all("Story" in text for text in texts.values())


def test_no_window_of_training_is_read_in_evaluation(section, train):
  held = "\n\n".join(text_of(datasets.load(section, s)) for s in SPLITS[1:])
  for batch in itertools.islice(pipeline.train_batches(train, seed=0, batch=16), 20):
    for tokens in batch["tokens"]:
      lines = train.tokenizer.decode(tokens).split("\n")
      titles = [line for line in lines if line[:5] == "Story" and line[-1] == "."]
      assert not any(title in held for title in titles)


def test_evaluation_sees_each_token_once_and_ends_in_padding(section):
  dataset = datasets.load(section, "validation")
  found = list(pipeline.eval_batches(dataset, 4))
  valid = np.concatenate([b["valid"][b["weight"] == 1] for b in found])
  tokens = np.concatenate([b["tokens"][b["weight"] == 1] for b in found])
  assert valid.sum() == dataset.describe()["num_tokens"]
  assert dataset.tokenizer.decode(tokens[valid]) == text_of(dataset)
  assert (tokens[~valid] == 0).all()
  assert valid[:-1].all()


def test_training_windows_are_stretches_of_the_text_that_begin_anywhere(train):
  whole = text_of(train)
  starts = set()
  for batch in itertools.islice(pipeline.train_batches(train, seed=3, batch=16), 60):
    check_batch(batch)
    assert batch["valid"].all()
    for tokens in batch["tokens"]:
      window = train.tokenizer.decode(tokens)
      assert len(window) == 50
      assert window in whole
      starts.add(whole.index(window) % 50)
  assert len(starts) == 50


def test_an_epoch_passes_over_nearly_all_the_text(train):
  whole = np.zeros(train.describe()["num_tokens"])
  plan = pipeline.BatchPlan(train, seed=0, batch=len(train))
  numbers, places = plan.numbers(0), plan.places(0)
  tokens = np.arange(len(whole), dtype=np.uint16)  # each its own place
  train_like = datasets.load({**train.settings.__dict__}, "train")
  train_like._tokens = tokens
  np.add.at(whole, train_like.draw(numbers, places, 0)["tokens"].reshape(-1), 1)
  assert whole.mean() == pytest.approx(1, abs=50 / len(whole))
  assert (whole == 0).mean() < 0.25  # 1/6 for independent shifts of neighbours
  assert whole.max() <= 3  # the last window is moved back to the end


@pytest.mark.parametrize("threads", [0, 2])
def test_starting_at_a_step_equals_skipping_to_it(train, threads):
  skipped = list(itertools.islice(pipeline.train_batches(train, seed=5, batch=8), 25))
  batches = pipeline.train_batches(train, seed=5, batch=8, start=22, threads=threads)
  for one, other in zip(itertools.islice(batches, 3), skipped[22:], strict=True):
    assert same(one, other)


@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_together_hold_the_batch_of_one(train, num_processes):
  for step in (0, 7, 30):
    whole = pipeline.batch_at(train, step, seed=5, batch=8)
    parts = [
      pipeline.batch_at(
        train, step, seed=5, batch=8, process=p, num_processes=num_processes
      )
      for p in range(num_processes)
    ]
    assert same({k: np.concatenate([p[k] for p in parts]) for k in whole}, whole)


def test_another_seed_or_epoch_gives_other_windows(train):
  one, other = (pipeline.batch_at(train, 0, seed=s, batch=8) for s in (0, 1))
  assert (one["tokens"] != other["tokens"]).any()
  tiles, places = np.arange(8), np.arange(8)
  shown = [
    train.draw(tiles, places + shift, seed)["tokens"]
    for shift, seed in ((0, 0), (8, 0), (0, 1))
  ]
  assert (shown[0] != shown[1]).any()
  assert (shown[0] != shown[2]).any()


def test_a_text_shorter_than_a_window_is_one_window_with_padding(section):
  dataset = datasets.load(section | {"length": 100_000}, "validation")
  assert len(dataset) == 1
  drawn = dataset.draw(np.array([0]), np.array([7]), 0)
  assert same(drawn, dataset.fetch(np.array([0])))
  assert drawn["valid"].sum() == dataset.describe()["num_tokens"]


def test_eos_ends_each_document_and_is_in_the_vocabulary(section, tmp_path):
  changed = section | {"eos": True, "data_dir": str(tmp_path), "tokenizer": "bytes"}
  datasets.prepare(**changed)
  for split in SPLITS:
    dataset = datasets.load(changed, split)
    tokens = dataset.fetch(np.arange(len(dataset)))["tokens"]
    assert (tokens == 256).sum() == dataset.describe()["num_documents"]
  assert dataset.facts() == {"vocab_size": 257}


@pytest.mark.parametrize("tokenizer", ["text8", "bytes", "bpe"])
def test_other_tokenizers_give_back_the_same_text(section, tmp_path, tokenizer):
  changed = section | {
    "tokenizer": tokenizer, "data_dir": str(tmp_path), "vocab_size": 300,
  }  # fmt: skip
  datasets.prepare(**changed)
  plain, other = (datasets.load(s, "test") for s in (section, changed))
  assert text_of(other) == other.tokenizer.normalize(text_of(plain))
  noted = other.describe()
  assert noted["num_characters"] == len(text_of(other))
  assert noted["num_bytes"] == len(text_of(other).encode())
  assert noted["vocab_size"] == {"text8": 27, "bytes": 256, "bpe": 300}[tokenizer]


def ids_of(section):
  """Ids and facts of every split, as they are built."""
  found = [datasets.load(section, split) for split in SPLITS]
  return [np.array(x._tokens) for x in found], [x.describe() for x in found]


@pytest.mark.parametrize("split", ["passages", "ends"])
@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("tokenizer", ["characters", "text8", "bytes", "bpe"])
def test_a_corpus_that_does_not_fit_gives_the_same_ids(
  stories, tmp_path, monkeypatch, tokenizer, eos, split
):
  section = {
    "name": "text", "path": str(stories), "length": 50, "held_out": 0.3, "eos": eos,
    "tokenizer": tokenizer, "vocab_size": 300, "split": split,
  }  # fmt: skip
  whole, pieces = (section | {"data_dir": str(tmp_path / k)} for k in "ab")
  datasets.prepare(**whole)
  monkeypatch.setattr(corpora, "BLOCK", 50)
  monkeypatch.setattr(windows, "MOST", 120)
  monkeypatch.setattr(windows, "NEAR", 60)
  datasets.prepare(**pieces)
  (one, facts), (other, same_facts) = ids_of(whole), ids_of(pieces)
  assert all((a == b).all() for a, b in zip(one, other, strict=True))
  assert facts == same_facts


def test_building_takes_little_memory_however_long_the_text(tmp_path, monkeypatch):
  lines = "the sun and the moon and the rain on the hill\n" * 20_000
  (tmp_path / "one.txt").write_text(lines)
  (tmp_path / "two.txt").write_text(lines * 3)  # 4 MB in all
  section = {
    "name": "text", "path": str(tmp_path), "tokenizer": "bytes",
    "data_dir": str(tmp_path / "home"),
  }  # fmt: skip
  monkeypatch.setattr(corpora, "BLOCK", 1 << 14)
  monkeypatch.setattr(windows, "MOST", 1 << 14)
  monkeypatch.setattr(building, "CHUNK", 1 << 14)
  tracemalloc.start()
  try:
    datasets.prepare(**section | {"split": "ends"})
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize(
  ("text", "end"),
  [("one two  three\n\nfour", 3), ("a 1 b\n", 3), ("abc", 3), ("\u043e 1", 1)],
)
def test_a_run_is_cut_before_a_single_space_between_words(text, end):
  assert windows._find_cut(text) == end


def test_a_tokenizer_of_another_data_set_can_be_given_by_its_file(section, tmp_path):
  file = datasets.load(section, "train")._folder / "tokenizer.json"
  changed = section | {"tokenizer": str(file), "data_dir": str(tmp_path)}
  datasets.prepare(**changed)
  assert text_of(datasets.load(changed, "test")) == text_of(
    datasets.load(section, "test")
  )
  (tmp_path / "new.txt").write_text("Ünknown\n\nto it\n\nat all\n")
  with pytest.raises(ValueError, match=r"'text', train: text has .* know: \['Ü'"):
    datasets.prepare(**changed | {"path": str(tmp_path / "new.txt"), "split": "ends"})


def test_counts_and_examples_agree(section, train):
  assert datasets.count_examples(section)["train"] == len(train)
  assert json.dumps(train.describe())
  assert train.shapes is None
  with pytest.raises(ValueError, match=r"no split 'dev'; it has train, validation, t"):
    datasets.load(section, "dev")
