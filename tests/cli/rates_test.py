"""`mdm train --find-lr`, as a user types it."""

import json

import pytest

from mdm import api, cli

FOUND = {
  "rate": 0.00123,
  "least": 0.0123,
  "steepest": 0.004,
  "smoothed": [2.0, 1.0],
  "has_risen": False,
  "rates": [1e-4, 1e-2],
  "losses": [2.0, 1.0],
}


def test_find_lr_tells_a_setting_and_what_it_comes_from(monkeypatch, capsys, tmp_path):
  asked = []

  def find_rate(path, **settings):
    asked.append((path, settings))
    return FOUND

  monkeypatch.setattr(api, "find_rate", find_rate)
  numbers = tmp_path / "rates.json"
  args = ["train", "x.py", "--find-lr", "--set", "seed=3", "--out", "a.png"]
  assert cli.main([*args, "--json", str(numbers)]) == 0
  out = capsys.readouterr().out
  assert "--set optimizer.learning_rate=0.0012" in out and "still falling" in out
  assert asked == [("x.py", {"overrides": ["seed=3"], "out": "a.png"})]
  assert json.loads(numbers.read_text()) == FOUND


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ([], "needs --workdir"),
    (["--workdir", "run", "--out", "x.png"], "the picture of --find-lr"),
    (["--find-lr", "--profile"], "leave one out"),
    (["--find-lr", "--out", "x.nothing"], "is no picture's name"),
  ],
)
def test_arguments_that_do_not_go_together_are_refused(
  args, answer, capsys, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  assert cli.main(["train", "configs/text/mqar_tiny.py", *args]) == 1
  assert answer in capsys.readouterr().err
  assert list(tmp_path.iterdir()) == []
