"""`mdm plot masks`, as a user types it."""

import json

import pytest
from PIL import Image

from mdm import cli


@pytest.fixture(autouse=True)
def _in_a_folder(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)


def test_plot_masks_writes_a_sheet_and_names_them(tmp_path, capsys):
  args = ["--count", "1", "--set", "rows=4", "--set", "columns=4", "--json"]
  assert cli.main(["plot", "masks", *args]) == 0
  found = json.loads(capsys.readouterr().out)
  assert found["picture"] == "masks.png" and "random, 0.75" in found["masks"]
  with Image.open(tmp_path / "masks.png") as sheet:
    assert sheet.width >= 1_000


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    (["--set", "ratio=75"], "write 0.75"),
    (["--steps", "3"], "'masks.steps' is not a setting of MaskSheet"),
    (["--set", "row=3"], "did you mean masks.rows"),
    (["--set", "rows=many"], "it must be int"),
    (["word.png"], "reads no images"),
    (["--out", "a.txt"], "no picture's name"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(args, answer, capsys):
  assert cli.main(["plot", "masks", *args]) == 1
  assert answer in capsys.readouterr().err
