"""What pages name is there: names for those who come from PyTorch, commands, files."""

import re
from pathlib import Path

import numpy as np
import pytest
from toys import commands, names

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"`([^`]+)`")
PYTORCH = (ROOT / "FROM_PYTORCH.md").read_text()


def read_rows(text):
  """The cells of every table of a page, without heads and rules."""
  lines = [line for line in text.splitlines() if line.startswith("|")]
  rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
  rules = [k for k, row in enumerate(rows) if set(row[0]) <= set("-: ")]
  heads = {k for rule in rules for k in (rule - 1, rule)}
  return [row for k, row in enumerate(rows) if k not in heads]


ROWS = read_rows(PYTORCH)
EXPECTED = read_rows((ROOT / "CONTRIBUTING.md").read_text())


def test_the_table_of_names_is_read_whole():
  assert len(ROWS) == PYTORCH.count("\n|") - 2 * PYTORCH.count("\n|---")
  assert len(ROWS) > 80 and all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("`")[:40] for row in ROWS])
def test_every_name_that_stands_for_one_of_pytorch_is_ours(row):
  found = NAME.findall(row[1])
  assert found or row[1] == "none", f"{row[0]} has no counterpart and no none"
  for name in found:
    names.check_name(name)


@pytest.mark.parametrize(
  "name",
  [
    "train.batches", "train.batch=many", "optimizer.schedule=cosin", "data.bach",
    "init.runs", "image.mae(mask_rati=0.5)", "image.mea", "vit.Vit(widht=3)",
    "mdm.masks.span", "mdm.load(RUN).generate", "mdm trian CONFIG", "CONTRIBUTE.md",
    "mdm train configs/image/mae_cifr10.py", "mdm/data/batches.py", "seeed",
  ],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_found_out(name):
  with pytest.raises((AssertionError, AttributeError, ValueError)):
    names.check_name(name)


def test_a_checkpoint_goes_through_the_map_of_the_page_and_back():
  [code] = re.findall(r"```python\n# any_layout\.py\n(.*?)```", PYTORCH, re.DOTALL)
  room = {}
  exec(code, room)
  there, back = room["there"], room["back"]
  assert there.keys() == back.keys()
  for name, array in there.items():
    np.testing.assert_array_equal(back[name], array)
  kernel = room["params"]["head"]["kernel"]
  np.testing.assert_array_equal(kernel, there["classifier.weight"].T)


@pytest.mark.parametrize("row", EXPECTED, ids=[row[0] for row in EXPECTED])
def test_what_is_said_to_be_there_has_a_command_or_a_file(row):
  _, verdict, evidence, told = row
  found = NAME.findall(evidence)
  assert verdict in ("yes", "part", "no") and bool(found) == (verdict != "no")
  assert told or verdict != "part", "part of what?"
  for name in found:
    names.check_name(name)


def test_every_expectation_is_answered():
  assert len(EXPECTED) >= 24


@pytest.mark.parametrize("page", ["README.md", "FROM_PYTORCH.md", "CONTRIBUTING.md"])
def test_every_command_of_a_page_is_one(page):
  found = commands.find_commands((ROOT / page).read_text())
  assert found
  for line in found:
    commands.parse(line)
