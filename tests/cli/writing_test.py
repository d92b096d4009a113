"""`mdm sample`, `score`, `plot` and `bench sampler`, as a user types them."""

import json
import shlex

import pytest
from PIL import Image
from toys import commands

from mdm import cli


def run(*args):
  return cli.main([str(a) for a in args])


def said(capsys):
  return capsys.readouterr().err


def test_sample_prints_texts_that_begin_with_the_prompt(tiny_text, capsys):
  args = ["--prompt", "and god", "--num", 2, "--length", 12, "--steps", 3, "--seed", 5]
  assert run("sample", tiny_text.run, *args) == 0
  lines = capsys.readouterr().out.splitlines()
  assert sum(line.startswith("and god") for line in lines) == 2


def test_sample_fills_a_template_and_shows_every_pass(tiny_text, capsys):
  args = [
    "--template",
    "and [MASK:4] said",
    "--steps",
    4,
    "--sampler",
    "low_confidence",
  ]
  assert run("sample", tiny_text.run, *args, "--show-steps") == 0
  lines = capsys.readouterr().out.splitlines()
  hidden = [line.count("_") for line in lines if line.startswith("pass")]
  assert hidden == [3, 2, 1, 0]


def test_sample_writes_json_alone_on_standard_output(tiny_text, capsys):
  args = ["--prompt", "and", "--length", 8, "--steps", 2, "--set", "grid=cosine"]
  assert run("sample", tiny_text.run, *args, "--json") == 0
  (sample,) = json.loads(capsys.readouterr().out)
  assert sample["text"].startswith("and") and sample["calls"] == 2


def test_score_prints_and_writes_numbers_with_errors(tiny_text, capsys, tmp_path):
  path = tmp_path / "scores.json"
  args = [tiny_text.text, "--text", "and god said", "--strata", 2, "--json", path]
  assert run("score", tiny_text.run, *args) == 0
  book, line = json.loads(path.read_text())
  assert book["windows"] > 30 and line["windows"] == 1 and line["is_upper_bound"]
  assert book["source"] == str(tiny_text.text) and book["bits_per_char_error"] > 0
  assert capsys.readouterr().out.count("perplexity") == 2


def test_plot_writes_a_film_of_text(tiny_text, tmp_path):
  out = tmp_path / "text.gif"
  args = ["--prompt", "and god", "--length", 12, "--steps", 3, "--out", out]
  assert run("plot", tiny_text.run, *args) == 0
  with Image.open(out) as film:
    assert film.n_frames >= 2


def test_bench_sampler_reports_each_sampler(tiny_text, capsys):
  args = ["--samplers", "ancestral,first_hitting", "--steps", "2", "--length", 6]
  assert run("bench", "sampler", tiny_text.run, *args, "--rounds", 1, "--json") == 0
  rows = json.loads(capsys.readouterr().out)["rows"]
  assert [(row["sampler"], row["calls"]) for row in rows] == [
    ("ancestral", 2), ("first_hitting", 6)
  ]  # fmt: skip
  assert run("bench", "sampler") == 1


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("sample RUN --prompt 'and god said let there be'", "leaves nothing to fill"),
    ("sample RUN --prompt a --template b[MASK]", "give one of them"),
    ("sample RUN --sampler low_confidense", "did you mean 'low_confidence'"),
    ("sample RUN --sampler low_confidence --steps 99", "more than the 24 positions"),
    ("sample RUN --temperature -1", "temperature = -1.0 must be 0 or more"),
    ("sample RUN --guidance 2", "guidance = 2.0 needs a prompt"),
    ("sample RUN --set etta=1", "did you mean eta"),
    ("sample RUN --set eta", "--set eta has no value"),
    ("sample RUN --template nothing", "has no hole"),
    ("sample nowhere --prompt a", "nowhere is no run"),
    ("sample READER --prompt a", "it can read images (mdm predict)"),
    ("score READER a.txt", "it can read images (mdm predict)"),
    ("score RUN a.txt", "a.txt is no file"),
    ("score RUN", "no text to score"),
    ("score RUN --text ''", "'' is empty"),
    ("score RUN --text a --strata 1", "num_strata = 1"),
    ("predict RUN", "it can write text (mdm sample)"),
    ("plot RUN a.png", "reads no images"),
    ("bench sampler READER", "it can read images"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(tiny, tiny_text, capsys, args, answer):
  names = {"RUN": tiny_text.run, "READER": tiny.run}
  assert run(*(names.get(part, part) for part in shlex.split(args))) == 1
  message = said(capsys)
  assert answer in message and message.count("\n") == 1


def test_an_empty_file_and_unknown_characters_are_refused(tiny_text, capsys, tmp_path):
  empty, odd = tmp_path / "empty.txt", tmp_path / "odd.txt"
  empty.write_text("")
  odd.write_bytes(b"\xff\xfe\xff")
  assert run("score", tiny_text.run, empty) == 1
  assert "empty.txt is empty" in said(capsys)
  assert run("score", tiny_text.run, odd) == 1
  assert "is not UTF-8" in said(capsys)


@pytest.mark.parametrize(
  ("setting", "answer"),
  [
    ("method.schedule=cosin", "did you mean 'cosine'"),
    ("model.vocab_size=5", "vocab_size = 5, but the data has vocab_size = 27"),
    ("eval.bits.num_strata=1", "num_strata = 1 must be 2"),
    ("eval.bits.name=likelyhood", "did you mean likelihood"),
  ],
)
def test_bad_settings_of_text_models_are_refused(
  tiny_text, capsys, tmp_path, setting, answer
):
  args = [tiny_text.config, "--workdir", tmp_path / "run", "--set", setting]
  assert run("train", *args) == 1
  message = said(capsys)
  assert answer in message and message.count("\n") == 1


@pytest.mark.parametrize("command", ["sample", "score", "plot"])
def test_the_examples_of_texts_in_the_help_work(
  tiny_text, tmp_path, monkeypatch, command
):
  lines = [line for line in commands.find_examples(command) if "runs/text" in line]
  monkeypatch.chdir(tmp_path)
  (tmp_path / "book.txt").write_text("and god said")
  assert lines
  for line in lines:
    words = shlex.split(line.replace("runs/text", str(tiny_text.run)), comments=True)
    assert run(*words[1:]) == 0
