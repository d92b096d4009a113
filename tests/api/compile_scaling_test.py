import json
from pathlib import Path

import pytest

from mdm import cli
from mdm.api import compile_tables
from mdm.api.compile_scaling import count_devices, draw_scaling, find_scaling

CHARS = Path(__file__).parents[2] / "configs/diffusion/md4_chars.py"
ROW = {
  "options": ["--topology", "v5p:2x2x2", "--set", "train.batch=160"],
  "devices": 8,
  "memory": {"total": 2**30},
  "traffic": [
    {"kind": "all-reduce", "axes": ["fsdp"], "times": 1, "bytes": 1.0},
    {"kind": "all-gather", "axes": ["fsdp"], "times": 9, "bytes": 2.0**21},
  ],
  "seconds": {"compute": 0.5, "memory": 0.1, "links": 0.25, "step": 0.5},
  "rates": {"examples_per_s": 320.0, "tokens_per_s": 81_920.0},
}


def test_rows_of_a_device_stay_the_same():
  jobs = find_scaling(CHARS, ["8", "64", "v5p:8x8x8"], ["--set", "train.batch=16"])
  batches = [job.options[-1] for job in jobs]
  assert batches == ["train.batch=16", "train.batch=128", "train.batch=1024"]
  assert jobs[1].options[:2] == ("--devices", "64")
  assert jobs[2].options[:2] == ("--topology", "v5p:8x8x8")


@pytest.mark.parametrize(
  ("name", "count"),
  [("64", 64), ("v5e:4x4", 16), ("v5p:4x8x8", 256), ("tpu7x:2x2x1", 8)],
)
def test_devices_of_a_name_are_counted(name, count):
  assert count_devices(name) == count


@pytest.mark.parametrize("name", ["", "v5p", "0", "v5p:", "v5p:2xx2", "-8"])
def test_what_is_no_number_of_devices_is_refused(name):
  with pytest.raises(ValueError, match="is no number of devices and no topology"):
    count_devices(name)


def test_a_batch_grows_by_whole_rows():
  with pytest.raises(
    ValueError, match=r"= 9 on 8 devices does not grow .* multiple of 8"
  ):
    find_scaling(CHARS, ["8", "12"], ["--set", "train.batch=9"])


def test_a_table_tells_links_beside_products():
  wrong = {**ROW, "error": "no."}
  head, rule, line, error = draw_scaling([ROW, wrong]).splitlines()
  assert {x.count("|") for x in (head, rule, line, error)} == {9}
  assert "| 8 (v5p:2x2x2) | 160 | 1.00 GiB | all-gather along fsdp 2.00 MiB |" in line
  assert "| 500 ms | 250 ms | 50.0% | 81,920 tokens/s |" in line
  assert "does not compile: no." in error
  free = draw_scaling([{**ROW, "seconds": {}, "traffic": []}]).splitlines()[2]
  assert "| nothing |  |  |  |  |" in free


def test_scaling_is_one_command(tmp_path, monkeypatch, capsys):
  plain = {name: x for name, x in ROW.items() if name != "options"}
  monkeypatch.setattr(compile_tables, "run_job", lambda job: plain)
  store = tmp_path / "rows.json"
  command = ["compile", str(CHARS), "--scaling", "8,64", "--chip", "v5e"]
  assert cli.main([*command, "--json", str(store)]) == 0
  assert "| 8 (64) | 512 |" in capsys.readouterr().out
  assert len(json.loads(store.read_text())) == 2
  assert cli.main([*command, "--devices", "8"]) == 1
  assert "says the devices; leave out --devices 8" in capsys.readouterr().err
