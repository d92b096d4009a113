"""Vectors beside PyTorch's: rounds, ratios, made texts. MDM_TORCH=PYTHON runs them."""

import json
import os
import subprocess

import numpy as np
import pytest
from toys.sentences import WORDS, make_fake, publish

from mdm import api, cli
from mdm.evaluation import encoding_bench
from mdm.evaluation.encoding_bench import make_texts, summarise


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp("bench")
  publish(folder / "published")
  api.import_weights(folder / "published", folder / "ours")
  return folder / "ours"


@pytest.fixture
def fake(monkeypatch, tmp_path):
  """An interpreter whose PyTorch answers from a list."""
  script, python = make_fake(tmp_path)
  monkeypatch.setattr(encoding_bench, "SCRIPT", script)
  return python


def run(model, path, *args):
  sets = ("--rounds", "2", "--limit", "5", "--json", f"{path}")
  return cli.main(["bench", "encode", f"{model}", *sets, *map(str, args)])


def test_both_sides_are_timed_in_the_same_rounds(fake, model, tmp_path, capsys):
  path = tmp_path / "bench.json"
  assert run(model, path, "--vs", "torch", "--torch", fake) == 0
  report = json.loads(path.read_text())
  numbers, times = report["numbers"], report["times"]
  assert {len(spent) for spent in times.values()} == {2} and report["texts"] == 5
  assert numbers["torch/32_s"] == 2e6
  ratios = [1e6 / ours for ours in times["encode"]]
  assert np.isclose(numbers["torch/8_over_ours"], np.median(ratios))
  assert numbers["torch/best_over_ours"] == numbers["torch/8_over_ours"]
  assert 1 < numbers["torch/difference"] <= 3  # theirs are 2, ours within 1 of 0
  assert "PyTorch 0 on cpu" in capsys.readouterr().out


def test_without_a_peer_ours_alone_is_timed(model, tmp_path):
  (tmp_path / "texts.txt").write_text("w1 w2\n\nw3\nw4\n")
  path = tmp_path / "bench.json"
  assert run(model, path, "--texts", tmp_path / "texts.txt") == 0
  report = json.loads(path.read_text())
  assert report["texts"] == 3 and np.isclose(report["words_per_text"], 4 / 3)
  assert set(report["times"]) == {"encode"} and not report["notes"]


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    (("--texts", "/none.txt"), "/none.txt cannot be read"),
    (("--texts", os.devnull), "holds no texts"),
    (("--vs", "torch"), "give --torch PYTHON"),
  ],
)
def test_what_cannot_be_measured_is_told(
  model, tmp_path, capsys, monkeypatch, args, answer
):
  monkeypatch.setattr("mdm.evaluation.torch_process.has_torch", lambda: False)
  assert run(model, tmp_path / "a.json", *args) == 1
  assert answer in capsys.readouterr().err


def test_an_encoder_must_be_named(capsys):
  assert cli.main(["bench", "encode"]) == 1
  assert "needs an encoder of sentences" in capsys.readouterr().err


def test_ratios_are_taken_within_rounds():
  times = {"encode": [1.0, 2.0, 4.0], "torch/8": [2.0, 2.0, 12.0]}
  numbers = summarise(times, 10)
  assert numbers["encode_texts_per_s"] == 5.0 and numbers["encode_min_s"] == 1.0
  assert numbers["torch/8_over_ours"] == 2.0 == numbers["torch/best_over_ours"]


def test_made_texts_are_words_of_the_tokenizer_and_the_same_each_time():
  texts = make_texts(lambda ids: WORDS[ids[0]], len(WORDS), 200)
  assert texts == make_texts(lambda ids: WORDS[ids[0]], len(WORDS), 200)
  counts = [len(text.split()) for text in texts]
  assert set(" ".join(texts).split()) <= set(WORDS[4:])
  assert min(counts) >= 3 and max(counts) <= 60 and 10 <= np.median(counts) <= 14


def test_a_tokenizer_without_words_is_told():
  with pytest.raises(ValueError, match="has no words to make texts of"):
    make_texts(lambda ids: "[PAD]", 5, 3)


@pytest.mark.skipif("MDM_TORCH" not in os.environ, reason="MDM_TORCH names no Python")
def test_pytorch_has_the_same_vectors(model, tmp_path):
  python = os.environ["MDM_TORCH"]
  asked = [python, "-c", "import transformers, tokenizers"]
  if subprocess.run(asked, check=False).returncode:
    pytest.skip("transformers is missing there")
  assert run(model, tmp_path / "bench.json", "--torch", python) == 0
  numbers = json.loads((tmp_path / "bench.json").read_text())["numbers"]
  assert numbers["torch/difference"] < 1e-5 and numbers["torch/8_s"] > 0
