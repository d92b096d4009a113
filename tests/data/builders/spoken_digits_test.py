import collections
import os
import pathlib
import tarfile

import numpy as np
import pytest
from toys.voices import RATE, tone, write_digits

from mdm.data import datasets
from mdm.data.builders.spoken_digits import Take, read_takes, split_takes

PUBLISHED = (
  pathlib.Path(os.environ.get("MDM_DATA_DIR", "")) / "free_spoken_digits.tar.xz"
)


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  folder = tmp_path_factory.mktemp("digits")
  write_digits(folder)
  home = str(tmp_path_factory.mktemp("home"))
  section = {"name": "spoken_digits", "data_dir": home, "manual_dir": str(folder)}
  datasets.prepare(**section)
  return section


def takes_of(numbers, speakers="abcdef"):
  """Takes without content."""
  return [
    Take("", digit, speaker, take, b"")
    for speaker in speakers
    for digit in range(10)
    for take in numbers
  ]


def test_a_clip_comes_with_its_digit_text_and_speaker(section):
  dataset = datasets.load(section | {"tokens": "characters"}, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  words = [dataset.text(k) for k in range(len(dataset))]
  assert words == [dataset.classes[label] for label in found["label"]]
  for row in (0, 50, 119):
    record = dataset.record(row)
    take = int(record["name"].split("_")[-1].split(".")[0])
    wanted = tone(0.2 + 0.01 * take, pitch=100.0 * (found["label"][row] + 1))
    length = found["audio_length"][row]
    assert length == len(wanted)
    np.testing.assert_allclose(found["audio"][row, :length], wanted, atol=1e-4)
    ids = found["tokens"][row][found["valid"][row]]
    assert dataset.tokenizer.decode(ids) == words[row]
  assert dataset.facts() == {
    "rate": RATE, "max_samples": RATE, "vocab_size": 28, "num_classes": 10
  }  # fmt: skip


def test_no_speaker_is_in_two_splits_and_folds_take_turns(section):
  seen = {}
  for split, count in (("train", 120), ("validation", 30), ("test", 30)):
    dataset = datasets.load(section, split)
    assert len(dataset) == count == datasets.count_examples(section)[split]
    seen[split] = set(dataset.describe()["speakers"])
  assert seen == {
    "train": {"ccc", "ddd", "eee", "fff"}, "validation": {"bbb"}, "test": {"aaa"}
  }  # fmt: skip
  tests = []
  for fold in range(6):
    found = split_takes(takes_of([5]), "speakers", fold)
    groups = {name: {t.speaker for t in rows} for name, rows in found.items()}
    assert len(groups["train"]) == 4
    assert len(set.union(*groups.values())) == 6
    tests += groups["test"]
  assert sorted(tests) == list("abcdef")


def test_takes_are_split_as_published_and_early_ones_stay_apart():
  by_take = split_takes(takes_of(range(12)), "takes")
  assert {name: {t.take for t in rows} for name, rows in by_take.items()} == {
    "train": {10, 11}, "validation": {5, 6, 7, 8, 9}, "test": {0, 1, 2, 3, 4}
  }  # fmt: skip
  by_speaker = split_takes(takes_of([4, 5]), "speakers")
  takes = {name: {t.take for t in rows} for name, rows in by_speaker.items()}
  assert takes.pop("published") == {4}
  assert set(map(tuple, takes.values())) == {(5,)}
  assert "test" not in split_takes(takes_of([5, 20]), "takes")


def test_a_share_takes_as_many_of_each_digit_and_a_subset_of_a_larger_one(section):
  names = {}
  for count in (3, 6):
    dataset = datasets.load(section | {"label_share": count / 12}, "train")
    labels = dataset.fetch(np.arange(len(dataset)))["label"]
    assert set(collections.Counter(labels.tolist()).values()) == {count}
    names[count] = {dataset.record(k)["name"] for k in range(len(dataset))}
  assert names[3] < names[6]


def test_the_archive_reads_as_its_contents_do(section, tmp_path):
  folder = pathlib.Path(section["manual_dir"])
  with tarfile.open(tmp_path / "free_spoken_digits.tar.xz", "w:xz") as tar:
    tar.add(folder / "recordings", "recordings")
  assert read_takes(tmp_path) == read_takes(folder)


def test_what_is_missing_broken_or_otherwise_named_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"None has no spoken digits: set data\."):
    datasets.prepare("spoken_digits", str(tmp_path / "home"))
  (tmp_path / "free_spoken_digits.tar.xz").write_bytes(b"x")
  with pytest.raises(ValueError, match=r"tar\.xz cannot be read as the published"):
    read_takes(tmp_path)
  (tmp_path / "recordings").mkdir()
  with pytest.raises(ValueError, match=r"has no recording DIGIT_SPEAKER_TAKE\.wav"):
    read_takes(tmp_path)
  (tmp_path / "recordings/ten_anna_0.wav").write_bytes(b"x")
  with pytest.raises(ValueError, match=r"has 'ten_anna_0\.wav' where the spoken"):
    read_takes(tmp_path)
  with pytest.raises(ValueError, match="are by a, b, not by the 6 speakers"):
    split_takes(takes_of([5], "ab"))


@pytest.mark.skipif(
  not PUBLISHED.is_file(), reason="MDM_DATA_DIR names no free_spoken_digits.tar.xz"
)
def test_the_published_archive_has_45_takes_of_each_digit_and_speaker():
  takes = read_takes(PUBLISHED.parent)
  counts = collections.Counter((take.digit, take.speaker) for take in takes)
  assert len(counts) == 60 and set(counts.values()) == {45}
  assert {take.take for take in takes} == set(range(5, 50))
