import numpy as np
import pytest
from PIL import Image

from mdm.evaluation import reading_bench
from mdm.evaluation.reading_bench import Entrant, Words


@pytest.fixture
def folder(tmp_path):
  for k, text in enumerate(("one", "two", "six")):
    Image.new("L", (10 + k, 8), 10 * k).save(tmp_path / f"{k}.png")
    with (tmp_path / "labels.txt").open("a") as file:
      file.write(f"{k}.png\t{text}\n")
  return tmp_path


def make_words(count=10):
  images = [np.full((2, 2, 3), k, np.uint8) for k in range(count)]
  return Words([str(k) for k in range(count)], images, [str(k) for k in range(count)])


def test_spread_takes_even_distances_and_both_ends():
  assert reading_bench.spread(10, 4) == [0, 3, 6, 9]
  assert reading_bench.spread(3, 0) == reading_bench.spread(3, 9) == [0, 1, 2]


def test_words_are_decoded_in_colour_at_their_own_size(folder):
  section = {"name": "folder", "folder": str(folder)}
  words = reading_bench.load_words(section, "")
  assert [image.shape for image in words.images] == [(8, 10 + k, 3) for k in range(3)]
  assert words.truths == ["one", "two", "six"]
  assert reading_bench.load_words(section, "", 2).truths == ["one", "six"]


def test_words_without_a_text_are_refused(folder):
  (folder / "labels.txt").unlink()
  with pytest.raises(ValueError, match=r"0\.png has no text .* data\.labels"):
    reading_bench.load_words({"name": "folder", "folder": str(folder)}, "")


def test_every_reader_is_scored_on_all_words_and_timed_on_the_sample():
  seen = []

  def read(images):
    seen.append(len(images))
    return [str(int(image[0, 0, 0])) if image[0, 0, 0] < 5 else "" for image in images]

  rows, readings = reading_bench.bench_readers(
    [Entrant("half", read, 4, 2)], make_words(), rounds=3, sample=6, say=lambda _: None
  )
  assert seen == [10, 6, 6, 6, 6]  # all, a warm-up, three rounds
  (row,) = rows
  assert row["accuracy"] == 0.5 and row["count"] == 10 and row["passes"] == 2
  assert 0 < row["images_per_s_min"] <= row["images_per_s"] <= row["images_per_s_max"]
  assert readings["half"][3] == "3"


def test_rounds_go_through_the_readers_in_turn():
  order = []

  def make(name):
    def read(images):
      order.append(name)
      return [""] * len(images)

    return Entrant(name, read, 1)

  reading_bench.time_readers([make("a"), make("b")], make_words(2).images, rounds=2)
  assert order == ["a", "b"] * 3


def test_no_round_is_refused():
  with pytest.raises(ValueError, match="rounds = 0"):
    reading_bench.bench_readers([], make_words(), rounds=0, sample=1)


def test_a_missing_peer_is_noted_and_an_unknown_one_refused(monkeypatch):
  monkeypatch.setattr(reading_bench, "open_tesseract", lambda cores: None)
  monkeypatch.setattr(reading_bench, "open_ppocr", lambda cores: (list, "1.2"))
  entrants, notes = reading_bench.open_peers(("tesseract", "ppocr"), 2)
  assert [entrant.name for entrant in entrants] == ["PP-OCRv4 recogniser"]
  assert "apt-get install" in notes[0] and "1.2" in notes[1]
  with pytest.raises(ValueError, match="did you mean 'tesseract'"):
    reading_bench.open_peers(("teseract",), 2)


def test_a_folder_is_called_by_its_name_alone():
  section = {"name": "folder", "folder": "/somewhere/local/crops"}
  assert reading_bench.describe_data(section, "", 3)["name"] == "crops"


def test_the_table_shows_accuracy_with_its_error():
  row = {"reader": "ours", "passes": 3, "batch": 64, "accuracy": 0.914,
         "accuracy_stderr": 0.0063, "images_per_s": 321.04}  # fmt: skip
  assert "91.4% ± 0.6     321.0" in reading_bench.format_rows([row])
