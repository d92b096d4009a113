import numpy as np
import pytest
from PIL import Image

from mdm.evaluation.misses import (
  accuracy_by_length,
  count_confusions,
  find_misses,
  write_misses,
)
from mdm.evaluation.reading_bench import Words

TRUTHS = ["Word!", "two", "abc", "x1"]
READINGS = ["word", "tvo", "ab", "x"]


@pytest.fixture
def words():
  images = [np.full((8, 4 * k + 4, 3), 40 * k, np.uint8) for k in range(4)]
  return Words([f"set[{k}]" for k in range(4)], images, TRUTHS)


def test_misses_are_words_that_score_as_wrong():
  assert find_misses(READINGS, TRUTHS) == [1, 2, 3]


def test_accuracy_by_length_counts_letters_and_digits():
  assert accuracy_by_length(READINGS, TRUTHS) == {2: (0, 1), 3: (0, 2), 4: (1, 1)}


def test_confusions_name_what_was_taken_for_what():
  assert set(count_confusions(READINGS, TRUTHS)) == {
    ("w", "v", 1), ("c", "", 1), ("1", "", 1)
  }  # fmt: skip


def test_frequent_confusions_come_first():
  assert count_confusions(["ooo", "o0"], ["000", "oo"])[0] == ("0", "o", 3)


def test_the_table_has_a_line_for_each_miss_with_every_readers_text(words, tmp_path):
  path = tmp_path / "misses.tsv"
  write_misses(path, words, {"ours": READINGS, "peer": ["a\nb"] * 4}, "ours")
  lines = path.read_text().splitlines()
  assert lines[0].split("\t") == ["name", "truth", "ours", "peer"]
  assert lines[1].split("\t") == ["set[1]", "two", "tvo", "a b"]
  assert len(lines) == 4


def test_a_png_becomes_a_sheet_of_the_missed_pictures(words, tmp_path):
  write_misses(tmp_path / "misses.png", words, {"ours": READINGS}, "ours")
  with Image.open(tmp_path / "misses.png") as sheet:
    assert sheet.getpixel((10, 20)) == (40, 40, 40)  # the first miss is image 1


def test_a_file_that_cannot_be_written_is_named(words, tmp_path):
  with pytest.raises(ValueError, match="cannot be written"):
    write_misses(tmp_path / "no" / "x.tsv", words, {"ours": READINGS}, "ours")
