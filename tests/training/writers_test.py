"""Metrics in a file: one row a step, whatever interrupted the writing."""

import json

from mdm.training.writers import JsonLines, Writer, open_writers, read_rows


def test_rows_are_on_disk_as_soon_as_written(tmp_path):
  writer = JsonLines(tmp_path)
  writer.write(1, {"loss": 0.5})
  assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
  writer.close()


def test_a_resume_cuts_the_rows_that_it_will_repeat(tmp_path):
  first = JsonLines(tmp_path)
  for step in range(1, 8):
    first.write(step, {"loss": 1.0 / step})
  first.close()
  second = JsonLines(tmp_path, start=5)
  second.write(6, {"loss": 9.0})
  second.close()
  rows = read_rows(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
  assert (rows[4]["loss"], rows[5]["loss"]) == (0.2, 9.0)


def test_a_last_line_cut_short_is_dropped_and_does_not_spoil_the_next(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
  assert [row["step"] for row in read_rows(path)] == [1]
  writer = JsonLines(tmp_path, start=2)
  writer.write(3, {})
  writer.close()
  assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


def test_a_fresh_start_cuts_everything(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
  JsonLines(tmp_path, start=0).close()
  assert read_rows(tmp_path / "metrics.jsonl") == []


def test_there_is_always_a_file_first(tmp_path, monkeypatch):
  monkeypatch.delenv("WANDB_PROJECT", raising=False)
  writers = open_writers(tmp_path, 0)
  assert isinstance(writers[0], JsonLines)
  assert all(isinstance(writer, Writer) for writer in writers)
  for writer in writers:
    writer.close()
