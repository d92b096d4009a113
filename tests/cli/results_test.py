"""`mdm results`, as a user types it."""

import json

import pytest

from mdm import cli
from mdm.evaluation.result_store import write_file


@pytest.fixture(autouse=True)
def _in_a_folder(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / "configs" / "results"
  contents = {"title": "All", "text": ["Hm."], "sections": []}
  write_file(folder / "contents.json", contents)


def test_results_writes_the_page_and_checks_it(tmp_path, capsys):
  assert cli.main(["results", "--check"]) == 1
  assert "`mdm results` writes it" in capsys.readouterr().err
  assert cli.main(["results"]) == 0
  assert (tmp_path / "RESULTS.md").read_text() == "# All\n\nHm.\n"
  assert cli.main(["results", "--check"]) == 0


def test_results_keeps_what_a_benchmark_wrote(tmp_path):
  (tmp_path / "numbers.json").write_text(json.dumps({"ms": 1.5}))
  assert cli.main(["results", "--add", "numbers.json", "--section", "tempo"]) == 0
  assert "## tempo" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    (["--add", "x.json"], "give both"),
    (["--check", "--add", "x", "--section", "y"], "changes nothing"),
  ],
)
def test_arguments_that_do_not_go_together_are_refused(args, answer, capsys):
  assert cli.main(["results", *args]) == 1
  assert answer in capsys.readouterr().err
