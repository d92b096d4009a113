"""Processes on one machine are told of each other, and end together."""

import shlex
import signal

import pytest
from toys.shell import Shell

# Says who it is, and ends as told, or when it is asked to.
MDM = """trap 'echo "saved $MDM_PROCESS_ID"; exit 0' TERM
echo "$MDM_PROCESS_ID of $MDM_NUM_PROCESSES" >>"$SEEN/started"
for ((i = 0; i < 200; i++)); do
  [ "$2" = slow ] || break
  /usr/bin/sleep 0.05
done
[ "$MDM_PROCESS_ID" != "${FAILS:-}" ] || exit 3
"""


class Laptop(Shell):
  """Has mdm on its PATH alone."""

  @property
  def environment(self):
    return super().environment | {"MDM_VENV": "none"}


@pytest.fixture
def shell(tmp_path):
  made = Laptop(tmp_path)
  made.stand_in("mdm", MDM)
  return made


def test_each_gets_its_number_and_all_the_same_address(shell):
  options = ["--processes", "3", "--devices=2", "--port", "4321", "--dry-run"]
  status, out, err = shell.run("local.sh", *options, "--", "train", "a b")
  assert (status, err) == (0, "")
  lines = [shlex.split(line) for line in out.splitlines()]
  assert len(lines) == 3
  for number, words in enumerate(lines):
    assert words[0] == "env" and words[-2:] == ["train", "a b"]
    assert {
      "JAX_NUM_CPU_DEVICES=2", "MDM_COORDINATOR=localhost:4321",
      "MDM_NUM_PROCESSES=3", f"MDM_PROCESS_ID={number}",
    } <= set(words)  # fmt: skip


def test_all_are_started_and_the_first_failure_is_passed_on(shell):
  started = shell.folder / "started"
  assert shell.run("local.sh", "--", "train", "quick")[0] == 0
  assert sorted(started.read_text().splitlines()) == ["0 of 2", "1 of 2"]
  assert shell.run("local.sh", "--", "train", "quick", FAILS="1")[0] == 3


def test_ctrl_c_lets_all_save(shell):
  first = shell.start("local.sh", "--", "train", "slow")
  shell.wait_for("started", "1 of 2")
  shell.wait_for("started", "0 of 2")
  first.send_signal(signal.SIGINT)
  out, _ = first.communicate(timeout=30)
  assert first.returncode == 0
  assert sorted(out.splitlines()) == ["saved 0", "saved 1"]


@pytest.mark.parametrize("words", [["--processes", "0"], ["--port=x"]])
def test_numbers_that_are_none_are_refused(shell, words):
  status, _, err = shell.run("local.sh", *words, "--", "train", "c")
  assert status == 2 and "is no number of processes, devices or port." in err
