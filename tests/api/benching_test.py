"""`mdm bench reader`, on a folder of three words."""

import json

import pytest

from mdm import cli


@pytest.fixture
def words(tiny, tmp_path):
  folder = tmp_path / "crops"
  folder.mkdir()
  for name in ("a", "b", "c"):
    (folder / f"{name}.png").write_bytes(tiny.image.read_bytes())
  (folder / "labels.txt").write_text("a.png word\nb.png word\nc.png word\n")
  return folder


def run(*args):
  return cli.main([str(a) for a in args])


def test_accuracy_and_speed_of_every_decoder_and_number_of_steps(
  tiny, words, tmp_path, capsys
):
  args = ["bench", "reader", tiny.run, "--data", words, "--peers", "", "--rounds", 1]
  args += ["--steps", "1,2", "--decoders", "pd,lc", "--misses", tmp_path / "m.tsv"]
  assert run(*args, "--json") == 0
  report = json.loads(capsys.readouterr().out)
  assert [(row["reader"], row["passes"]) for row in report["rows"]] == [
    ("run pd", 1), ("run lc 1", 1), ("run lc 2", 2)
  ]  # fmt: skip
  for row in report["rows"]:
    assert row["count"] == 3 and row["images_per_s"] > 0 and row["batch"] == 64
    assert 0 <= row["accuracy"] <= 1 and "accuracy_stderr" in row
  assert report["data"] == {"name": "crops", "split": "", "count": 3}
  assert report["cores"] >= 1 and report["versions"]["jax"]
  assert (tmp_path / "m.tsv").read_text().startswith("name\ttruth\trun pd")


def test_a_card_takes_the_benchmark_as_it_was_written(tiny, words, tmp_path):
  path = tmp_path / "bench.json"
  args = ["bench", "reader", tiny.run, "--data", words, "--peers", "", "--rounds", 1]
  assert run(*args, "--decoders", "pd", "--json", path) == 0
  assert run("export", tiny.run, tmp_path / "out", "--metrics", path) == 0
  card = (tmp_path / "out" / "README.md").read_text()
  assert "| crops, 3 words | run pd | 1 |" in card and str(words) not in card


@pytest.mark.parametrize(
  ("option", "answer"),
  [
    (("--decoders", "pq"), "did you mean 'pd'"),
    (("--decoders", ""), "no decoder is named"),
    (("--steps", "0"), "--steps 0 must be positive"),
    (("--peers", "tesract"), "did you mean 'tesseract'"),
    (("--rounds", "-1"), "--rounds -1 must be 1 or more"),
    (("--data", "iiit5"), "known: rendered_words"),
  ],
)
def test_bad_options_are_refused_in_one_sentence(tiny, words, capsys, option, answer):
  args = ["bench", "reader", tiny.run, "--data", words, "--peers", ""]
  assert run(*args, *option) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1
