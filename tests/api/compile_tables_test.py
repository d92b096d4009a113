import json
import types
from pathlib import Path

import pytest

from mdm import cli
from mdm.api import compile_tables
from mdm.api.compile_tables import (
  Job,
  check_rows,
  compile_jobs,
  draw_table,
  find_jobs,
  read_header,
  run_job,
)
from mdm.cli.app import make_parser

ROOT = Path(__file__).parents[2]
CHARS = ROOT / "configs/diffusion/md4_chars.py"
SMALL = ("--set", "model.network.depth=1", "--set", "data.length=16", "--set",
         "train.batch=8")  # fmt: skip
ROW = {
  "config": "configs/image/mae.py",
  "options": ["--devices", "8", "--set", "train.batch=8"],
  "fingerprint": "0",
  "topology": None,
  "devices": 8,
  "parameters": 12_345,
  "memory": {"total": 3 * 2**30},
  "capacity": 2**31,
  "traffic": [
    {"kind": "all-gather", "axes": ["fsdp"], "times": 1, "bytes": 2048.0},
    {"kind": "all-gather", "axes": ["tensor"], "times": 1, "bytes": 1024.0},
  ],
  "seconds": {"compute": 0.002, "memory": 0.003, "links": 0.001, "step": 0.003},
  "rates": {"examples_per_s": 2_666.7},
}
HEADER = r'''r"""A model.

  mdm compile configs/a.py --topology v5e:2x2
  mdm train configs/a.py --workdir runs/a
  mdm compile configs/a.py --topology v5e:4x4 \
    --set train.batch=8  # half
"""

def get_config():
  return {"method": {}}
'''


@pytest.fixture(scope="module")
def found():
  """A small config compiled by a process of its own."""
  return run_job(Job(CHARS, ("--devices", "2", "--chip", "v5e", *SMALL)))


def test_a_process_of_its_own_has_the_devices_it_is_asked_for(found):
  assert found["devices"] == 2 and "table" not in found
  assert found["seconds"]["step"] > 0 and found["topology"] is None


def test_a_row_tells_what_does_not_compile():
  row = run_job(Job(CHARS, ("--devices", "0")))
  assert row == {"error": "--devices 0 must be 1 or more."}


def test_a_process_that_is_killed_is_told():
  killed = types.SimpleNamespace(returncode=-9, stderr="", stdout="")
  assert run_job(Job(CHARS, ()), lambda *_, **__: killed)["error"].endswith("-9.")


def test_headers_say_what_is_compiled_for_what(tmp_path):
  (tmp_path / "a.py").write_text(HEADER)
  (tmp_path / "claim.py").write_text("def get_config():\n  return {'arms': {}}\n")
  first, second = find_jobs(tmp_path)
  assert first.options == ("--topology", "v5e:2x2")
  assert second.options == ("--topology", "v5e:4x4", "--set", "train.batch=8")
  [alone] = find_jobs(tmp_path, ["--devices", "8"])
  assert alone.path.name == "a.py" and alone.options == ("--devices", "8")


def test_a_folder_without_configs_is_refused(tmp_path):
  with pytest.raises(ValueError, match="has no config; give a folder"):
    find_jobs(tmp_path, ["--devices", "8"])
  with pytest.raises(ValueError, match="whose header names a command"):
    find_jobs(ROOT / "configs/claims")


def test_commands_in_headers_can_be_typed():
  for path in sorted((ROOT / "configs").rglob("*.py")):
    for options in read_header(path):
      given = make_parser().parse_args(["compile", str(path), *options])
      assert given.topology or given.devices, path


def test_only_what_changed_is_compiled_again(tmp_path, monkeypatch):
  config, store, runs = tmp_path / "a.py", tmp_path / "rows.json", []
  config.write_text(CHARS.read_text())

  def run(job):
    runs.append(job)
    return {"error": "no."} if len(runs) == 1 else {"devices": 8}

  monkeypatch.setattr(compile_tables, "run_job", run)
  jobs = [Job(config, ("--devices", "8"))]
  for _ in range(3):  # fails, is done, is known
    [row] = compile_jobs(jobs, store)
  assert len(runs) == 2 and row["devices"] == 8
  assert json.loads(store.read_text())[str(jobs[0])] == row
  config.write_text(CHARS.read_text().replace('"batch": 64', '"batch": 128'))
  list(compile_jobs(jobs, store))
  assert len(runs) == 3


def test_a_file_of_something_else_is_not_written_over(tmp_path):
  store = tmp_path / "rows.json"
  store.write_text('{"loss": 1}')
  with pytest.raises(ValueError, match=r"rows\.json holds no rows of `mdm compile`"):
    list(compile_jobs([], store))
  assert store.read_text() == '{"loss": 1}'


def test_a_table_has_what_matters_of_every_row():
  head, rule, line, wrong = draw_table([ROW, {**ROW, "error": "no."}]).splitlines()
  assert {x.count("|") for x in (head, rule, line, wrong)} == {8}
  assert line.startswith(
    "| `image/mae` `train.batch=8` | 12,345 | 8 | 3.00 GiB of 2.00"
  )
  assert "**too much** | all-gather 3.00 KiB | memory 3 ms | 2,667 examples/s" in line
  assert "does not compile: no." in wrong
  assert "| v5e:2x2 |" in draw_table([{**ROW, "topology": "v5e:2x2"}])
  free = draw_table([{**ROW, "seconds": {}, "capacity": None, "traffic": []}])
  assert "| 3.00 GiB | nothing |  |  |" in free


def test_a_folder_is_compiled_by_one_command(tmp_path, monkeypatch, capsys, found):
  (tmp_path / "a.py").write_text(CHARS.read_text())
  monkeypatch.setattr(compile_tables, "run_job", lambda job: dict(found))
  store = tmp_path / "rows.json"
  command = ["compile", str(tmp_path), "--devices", "2", "--chip", "v5e"]
  assert cli.main([*command, "--json", str(store), *SMALL]) == 0
  printed = capsys.readouterr()
  assert "1 of 1" in printed.err and f"{found['parameters']:,}" in printed.out
  [row] = json.loads(store.read_text()).values()
  assert row["options"] == ["--devices", "2", "--chip", "v5e", *SMALL]


def test_a_table_with_holes_fails():
  check_rows([ROW])
  with pytest.raises(ValueError, match=r"1 of 2 do not compile: configs/image/mae\.py"):
    check_rows([ROW, {**ROW, "error": "no."}])
