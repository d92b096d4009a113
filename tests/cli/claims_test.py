"""`mdm claim` on runs that are done, as a user types it."""

import json

import pytest

from mdm import cli

CLAIM = """
def get_config():
  return {
    "title": "B beats A.",
    "base": "configs/image/mae_cifar10.py",
    "arms": {"A": [], "B": ["train.steps=5"]},
    "compare": [("B", "A", "val/accuracy")],
    "report": ["val/accuracy"],
    "seeds": 2,
  }
"""


@pytest.fixture
def args(tmp_path):
  (tmp_path / "claim.py").write_text(CLAIM)
  for arm, first in {"A": 0.25, "B": 0.5}.items():
    for seed in (0, 1):
      folder = tmp_path / "runs" / f"{arm}-{seed}"
      folder.mkdir(parents=True)
      numbers = {"val/accuracy": first + seed / 8}
      (folder / "numbers.json").write_text(json.dumps(numbers))
  return ["claim", str(tmp_path / "claim.py"), "--workdir", str(tmp_path / "runs")]


def test_claim_writes_a_page_beside_its_runs(args, tmp_path, capsys):
  assert cli.main(args) == 0
  out = capsys.readouterr().out
  assert "| B - A | val/accuracy | +0.2500 |" in out and "report.html" in out
  assert "+0.2500" in (tmp_path / "runs" / "report.html").read_text()


def test_claim_writes_its_page_and_its_record_where_it_is_told(args, tmp_path):
  page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
  assert cli.main([*args, "--report", str(page), "--json", str(numbers)]) == 0
  assert page.exists() and not (tmp_path / "runs" / "report.html").exists()
  record = json.loads(numbers.read_text())
  assert record["results"]["B"] == [{"val/accuracy": 0.5}, {"val/accuracy": 0.625}]
  assert record["compare"] == [["B", "A", "val/accuracy"]] and record["hardware"]


def test_seeds_can_be_trained_some_now_and_some_later(args, tmp_path):
  numbers = tmp_path / "numbers.json"
  alone = [*args, "--first-seed", "1", "--seeds", "1", "--json", str(numbers)]
  assert cli.main(alone) == 0
  record = json.loads(numbers.read_text())
  assert record["first_seed"] == 1
  assert record["results"]["B"] == [{"val/accuracy": 0.625}]
