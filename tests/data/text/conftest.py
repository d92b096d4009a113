"""A small corpus in a folder of files, and built data sets of it."""

import numpy as np
import pytest

from mdm.data import datasets

WORDS = ("sun", "moon", "star", "rain", "snow", "wind", "hill", "tree", "Ask,", "find!")


def write_stories(folder, count=24, words=60):
  """Stories of words, each begun by its number in letters, parted by lines."""
  rng = np.random.default_rng(0)
  for k in range(count):
    lines = rng.choice(WORDS, (words // 6, 6))
    text = "\n".join(" ".join(line) for line in lines)
    (folder / f"{k:02d}.txt").write_text(f"Story {chr(65 + k)}.\n{text}\n")
  return folder


@pytest.fixture(scope="session")
def stories(tmp_path_factory):
  return write_stories(tmp_path_factory.mktemp("stories"))


@pytest.fixture(scope="session")
def section(stories, tmp_path_factory):
  """A `data` section of characters whose data set is built."""
  home = tmp_path_factory.mktemp("texts")
  section = {
    "name": "text", "data_dir": str(home), "path": str(stories), "length": 50,
    "held_out": 0.3,
  }  # fmt: skip
  datasets.prepare(**section)
  return section
