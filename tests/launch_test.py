"""Launch scripts are whole, say what they need, and refuse what they cannot do."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda p: p.name)
def test_scripts_are_valid_bash(path):
  result = subprocess.run(
    ["bash", "-n", path], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_name_their_command(path):
  assert re.search(rf"launch/{path.name}", path.read_text())


def test_commands_of_the_quickstart_exist():
  from mdm import cli

  text = (ROOT / "launch/quickstart.sh").read_text()
  known = cli.make_parser().format_help()
  for command in re.findall(r"^\s*mdm (\w+)", text, re.MULTILINE):
    assert f"    {command} " in known


def test_no_suitable_python_is_said_in_one_sentence(tmp_path):
  fake = tmp_path / "bin"
  fake.mkdir()
  for name in ("bash", "dirname", "cmp", "cp", "realpath"):
    (fake / name).symlink_to(f"/usr/bin/{name}")
  result = subprocess.run(
    ["/usr/bin/bash", str(ROOT / "launch/env.sh"), "data"],
    env={
      "PATH": str(fake),
      "MDM_VENV": str(tmp_path / "none"),
      "HOME": os.environ["HOME"],
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 1
  assert result.stderr.startswith("mdm: no Python 3.11 or newer found; install one")
