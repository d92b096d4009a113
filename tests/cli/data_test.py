"""`mdm data` on texts: build, show, check, from the command line."""

import json

import pytest

from mdm import cli


@pytest.fixture
def options(tmp_path):
  """Options of a corpus of stories in a home of its own."""
  stories = tmp_path / "stories"
  stories.mkdir()
  for k in range(12):
    (stories / f"{k:02d}.txt").write_text(f"Story {k}.\n" + "sun and moon " * 20)
  settings = {"path": stories, "data_dir": tmp_path / "home", "length": 40}
  return [o for k, v in settings.items() for o in ("--set", f"data.{k}={v}")]


def run(*args):
  return cli.main([str(a) for a in args])


def test_texts_are_built_and_counted(options, tmp_path):
  report = tmp_path / "report.json"
  assert run("data", "build", "text", *options, "--json", report) == 0
  built = json.loads(report.read_text())
  assert built["examples/train"] > built["examples/test"] > 0
  assert run("data", "check", "text", *options, "--json", report) == 0
  counts = {k: n for k, n in built.items() if k.startswith("examples/")}
  assert json.loads(report.read_text()) == counts


def test_show_prints_texts_with_their_tokens(options, capsys, tmp_path):
  run("data", "build", "text", *options)
  capsys.readouterr()
  picture = tmp_path / "none.png"
  assert run("data", "show", "text", *options, "--out", picture, "--split", "test") == 0
  shown = capsys.readouterr().out
  assert ", 40 tokens:\n" in shown and "sun and moon" in shown
  assert not picture.exists()


def test_texts_that_are_not_built_are_refused_with_the_command(options, capsys):
  for action in ("show", "check"):
    assert run("data", action, "text", *options) == 1
    answer = capsys.readouterr().err
    assert "is not built; run `mdm data build text" in answer
    assert answer.count("\n") == 1


def test_files_of_texts_are_checked(tmp_path, capsys):
  (tmp_path / "a.tsv").write_text("1 plus 1 is\t2\n")
  assert run("data", "check", tmp_path / "a.tsv") == 0
  assert capsys.readouterr().out.split() == ["pairs", "1"]
  (tmp_path / "a.tsv").write_text("1 plus 1 is 2\n")
  assert run("data", "check", tmp_path / "a.tsv") == 1
  assert "a.tsv, line 1 is not a prompt and an answer" in capsys.readouterr().err
  (tmp_path / "a.txt").write_bytes(b"\xff")
  assert run("data", "check", tmp_path / "a.txt") == 1
  assert "is not UTF-8" in capsys.readouterr().err
