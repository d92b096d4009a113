"""`mdm bench attention`, as a user types it."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from mdm import cli
from mdm.api import attending
from mdm.evaluation.rates import Gauge, Rates
from mdm.training import topology

SHAPES = ("1,2,1,16,8,2", "1,2,1,128,8,2")


@pytest.fixture(autouse=True)
def rates(monkeypatch):
  """Of a made-up device, at once."""
  made_up = Gauge(Rates(1.0, 1.0, 1.0, "made up"))
  monkeypatch.setattr(attending, "open_gauge", lambda dtype, probes: made_up)


def run(*args):
  return cli.main(["bench", "attention", *(str(a) for a in args)])


def test_it_prints_a_table_writes_json_and_draws(capsys, tmp_path):
  out, plot = tmp_path / "numbers.json", tmp_path / "plot.png"
  args = ["--shapes", *SHAPES, "--peers", "xla,torch", "--rounds", 1]
  assert run(*args, "--json", out, "--plot", plot) == 0
  told = capsys.readouterr().out
  assert f"{SHAPES[1]} iid float32" in told and "x ours" in told
  report = json.loads(out.read_text())
  names = [(row["entrant"], row["length"]) for row in report["rows"]]
  assert names == [("mdm xla", 16), ("xla", 16), ("mdm xla", 128), ("xla", 128)]
  assert report["rates"]["source"] == "made up" and set(report["crossover"]) == {
    "forward",
    "both",
  }
  with Image.open(plot) as picture:
    assert picture.width > picture.height


def test_it_decodes_with_learned_scores(capsys, monkeypatch):
  asked = []

  def learn(run, patterns):
    asked.append((run, tuple(patterns)))
    return np.linspace(0, 1, 3, dtype=np.float32)[None]

  monkeypatch.setattr(attending, "_learned", learn)
  args = ["--shapes", "2,2,1,40,8,4", "--peers", "xla,flex", "--rounds", 1]
  assert run(*args, "--decode", "--patterns", "learned", "--run", "folder") == 0
  table = capsys.readouterr().out.splitlines()
  assert table[0] == "2,2,1,40,8,4 learned float32 a step of decoding"
  assert [line.split()[:4] for line in table[2:4]] == [
    ["mdm", "topw", "same", "4"],
    ["xla", "dense", "40", table[3].split()[3]],
  ]
  assert asked == [("folder", ("learned",))]


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("--backends gpv", "backend = 'gpv'"),
    ("--backends tpu", "'xla' or 'auto' would serve"),
    ("--backends ''", "no backend is named"),
    ("--shapes 1,2,1,64,8,0", "W = 0"),
    ("--shapes 1,3,2,64,8,4", "2 key heads do not divide 3 heads"),
    ("--peers torsch", "did you mean 'torch'"),
    ("--patterns recent", "did you mean 'recency'"),
    ("--patterns learned", "give --run FOLDER"),
    ("--patterns learned --run /nowhere/run", "/nowhere/run"),
    ("--plot a.png --decode", "leave out --decode"),
    ("--dtype float31", "did you mean 'float32'"),
    ("--torch /nowhere/python", "cannot be run"),
    ("--rounds 0", "--rounds 0 must be 1 or more"),
    ("--plot a.png --shapes 1,2,1,64,8,4", "needs shapes of two lengths"),
    ("--aot v9", "Known: v5e, v5p, v6e, h200"),
    ("--aot v5e --dtype what", "dtype = 'what' is unknown"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(capsys, args, answer):
  assert run(*shlex.split(args)) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1


@pytest.mark.skipif(not topology.has_libtpu(), reason="libtpu is not installed")
def test_aot_says_what_a_tpu_would_run_and_that_nothing_was_measured(capsys):
  assert run("--aot", "v5e", "--shapes", "1,2,1,1024,64,128") == 0
  told = capsys.readouterr().out
  assert "mdm tpu" in told and "not measured" in told
