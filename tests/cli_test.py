"""Commands as a user types them: what they print, write and refuse."""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from mdm import cli
from mdm.cli import bench


def run(*args):
  return cli.main([str(a) for a in args])


def said(capsys):
  return capsys.readouterr().err


def test_help_is_quick_and_imports_nothing_heavy():
  code = (
    "import sys, mdm.cli\n"
    "mdm.cli.make_parser().format_help()\n"
    "heavy = {'jax', 'flax', 'numpy', 'grain'} & set(sys.modules)\n"
    "sys.exit(str(heavy) if heavy else 0)\n"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, check=False
  )
  assert result.returncode == 0, result.stderr


def test_import_is_light():
  code = (
    "import time; t = time.perf_counter(); import mdm; print(time.perf_counter() - t)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert float(result.stdout) < 0.3


def test_no_command_prints_help_and_fails(capsys):
  assert run() == 2
  assert "doctor" in capsys.readouterr().out


def test_version_is_printed(capsys):
  assert run("--version") == 0
  assert re.fullmatch(r"mdm \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_doctor_names_versions_and_devices(capsys, tmp_path):
  path = tmp_path / "doctor.json"
  assert run("doctor", "--json", path) == 0
  report = json.loads(path.read_text())
  assert len(report["devices"]) == 8 and report["versions"]["jax"]
  assert "devices: cpu:0" in capsys.readouterr().out


def test_unknown_config_is_refused_with_the_nearest(capsys, tmp_path):
  assert run("train", "configs/diffusion/mdiff4str_tine.py", "--workdir", tmp_path) == 1
  assert "configs/diffusion/mdiff4str_tiny.py" in said(capsys)


@pytest.mark.parametrize(
  ("override", "answer"),
  [
    ("train.stepps=3", "train.steps"),
    ("train.steps=many", "train.steps = 'many'"),
    ("train.batch=2.5", "wrong type"),
    ("method.copis=1", "method.copies"),
    ("model.encoder.widht=3", "model.encoder.width"),
    ("optimizer.name=adma", "optimizer.name"),
    ("optimizer.end=75", "write 0.75 for 75%"),
    ("data.canvs=9", "canvas"),
    ("nowhere.x=1", "nowhere"),
    ("seed", "--set seed has no value"),
    ("sharding.data=3", "does not multiply to 8 devices"),
    ("train.accumulate=3", "no multiple of train.accumulate"),
    ("method.num_characters=12", "num_characters"),
  ],
)
def test_bad_settings_are_refused_in_one_sentence(
  tiny, capsys, tmp_path, override, answer
):
  args = ["train", tiny.config, "--workdir", tmp_path / "run"]
  for setting in (*tiny.overrides, override):
    args += ["--set", setting]
  assert run(*args) == 1
  message = said(capsys)
  assert answer in message and "Traceback" not in message
  assert message.count("\n") == 1
  assert not (tmp_path / "run").exists()


def test_debug_shows_the_trace(tmp_path):
  with pytest.raises(ValueError, match="does not exist"):
    run("train", "nothing.py", "--workdir", tmp_path, "--debug")


def test_workdir_of_another_config_is_refused(tiny, capsys):
  args = ["train", tiny.config, "--workdir", tiny.run]
  for setting in (*tiny.overrides, "train.batch=16"):
    args += ["--set", setting]
  assert run(*args) == 1
  assert "train.batch: 8 there, 16 here" in said(capsys)


def test_workdir_that_is_a_file_is_refused(tiny, capsys, tmp_path):
  (tmp_path / "file").write_text("mine")
  args = ["train", tiny.config, "--workdir", tmp_path / "file"]
  for setting in tiny.overrides:
    args += ["--set", setting]
  assert run(*args) == 1
  assert "cannot be written" in said(capsys)
  assert (tmp_path / "file").read_text() == "mine"


def test_training_again_is_already_done(tiny, capsys):
  args = ["train", tiny.config, "--workdir", tiny.run]
  for setting in tiny.overrides:
    args += ["--set", setting]
  began = time.monotonic()
  assert run(*args) == 0
  assert "done: 2 steps" in capsys.readouterr().out
  assert time.monotonic() - began < 60


def test_eval_prints_accuracy_with_its_count(tiny, capsys, tmp_path):
  path = tmp_path / "numbers.json"
  assert run("eval", tiny.run, "--json", path) == 0
  numbers = json.loads(path.read_text())
  assert 0 <= numbers["words/accuracy"] <= 1 and numbers["words/count"] == 16
  assert "words/accuracy" in capsys.readouterr().out


def test_predict_gives_text_and_confidence_per_character(tiny, capsys, tmp_path):
  path = tmp_path / "readings.json"
  assert run("predict", tiny.run, tiny.image, "--json", path) == 0
  (reading,) = json.loads(path.read_text())
  assert reading["image"] == str(tiny.image)
  assert len(reading["characters"]) == len(reading["text"])
  assert all(0 <= c["confidence"] <= 1 for c in reading["characters"])
  assert str(tiny.image) in capsys.readouterr().out


def test_predict_without_images_reads_test_images_and_tells_the_truth(tiny, capsys):
  assert run("predict", tiny.run, "--count", 3) == 0
  assert capsys.readouterr().out.count("truth") == 3


def test_plot_draws_a_row_per_pass(tiny, tmp_path):
  one, two = tmp_path / "one.png", tmp_path / "two.png"
  assert run("plot", tiny.run, tiny.image, "--out", one, "--decoder", "pd") == 0
  assert run("plot", tiny.run, tiny.image, "--out", two, "--final-reflect") == 0
  with Image.open(one) as a, Image.open(two) as b:
    assert b.height > a.height


@pytest.mark.parametrize(
  ("content", "answer"),
  [(b"", "empty"), (b"not an image", "image"), (None, "")],
  ids=["empty", "garbage", "missing"],
)
def test_images_that_cannot_be_read_are_refused(
  tiny, capsys, tmp_path, content, answer
):
  path = tmp_path / "word.png"
  if content is not None:
    path.write_bytes(content)
  assert run("predict", tiny.run, path) == 1
  message = said(capsys)
  assert str(path) in message and answer in message and message.count("\n") == 1
  assert run("data", "check", path) == 1


def test_a_truncated_image_is_refused(tiny, capsys, tmp_path):
  whole = tmp_path / "whole.png"
  noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
  Image.fromarray(noise).save(whole)
  cut = tmp_path / "cut.png"
  cut.write_bytes(whole.read_bytes()[:900])
  assert run("predict", tiny.run, cut) == 1
  assert str(cut) in said(capsys)


def test_an_image_without_text_still_gives_an_answer(tiny, capsys, tmp_path):
  path = tmp_path / "blank.png"
  Image.new("L", (96, 32), 255).save(path)
  assert run("predict", tiny.run, path) == 0
  assert str(path) in capsys.readouterr().out


def test_unknown_decoder_is_refused(tiny, capsys):
  assert run("predict", tiny.run, tiny.image, "--decoder", "lcc") == 1
  assert "lc" in said(capsys)
  assert run("predict", tiny.run, tiny.image, "--num-steps", 0) == 1
  assert "num_steps" in said(capsys)


def test_a_folder_that_is_no_run_is_refused(capsys, tmp_path):
  assert run("predict", tmp_path, "x.png") == 1
  assert "is no run" in said(capsys)


def test_data_list_names_the_data_sets(capsys):
  assert run("data", "list") == 0
  assert {"rendered_words", "iiit5k", "folder"} <= set(capsys.readouterr().out.split())


def test_data_show_draws_a_sheet(tiny, tmp_path):
  out = tmp_path / "sheet.png"
  assert run("data", "show", tiny.run, "--out", out) == 0
  with Image.open(out) as sheet:
    assert sheet.width > 96


def test_data_build_is_quick_where_it_is_built_and_counts_examples(tiny, tmp_path):
  path = tmp_path / "data.json"
  args = ["data", "build", tiny.config, "--json", path]
  for setting in tiny.overrides:
    args += ["--set", setting]
  assert run(*args) == 0
  report = json.loads(path.read_text())
  assert report["examples/train"] == 32 and report["examples/test"] == 16
  assert report["time/build_s"] < 5


def test_data_without_a_name_is_refused(capsys):
  assert run("data", "show") == 1
  assert "needs the name" in said(capsys)


def test_a_dash_gives_json_alone_on_standard_output(capsys):
  assert run("data", "list", "--json", "-") == 0
  captured = capsys.readouterr()
  assert "rendered_words" in json.loads(captured.out)
  assert "rendered_words" in captured.err


def test_unexpected_errors_are_named_without_a_trace(capsys, monkeypatch):
  def fail(args):
    raise RuntimeError("first line\nsecond line")

  monkeypatch.setattr(bench, "doctor_command", fail)
  assert cli.main(["doctor"]) == 1
  assert said(capsys) == (
    "mdm: unexpected RuntimeError: first line (--debug shows where).\n"
  )


def test_bench_step_gives_a_ratio(tiny, tmp_path):
  path = tmp_path / "bench.json"
  args = ["bench", "step", tiny.config, "--steps", 3, "--rounds", 2, "--json", path]
  for setting in tiny.overrides:
    args += ["--set", setting]
  assert run(*args) == 0
  report = json.loads(path.read_text())
  numbers = report["numbers"]
  assert numbers["loop/over_bare"] > 0 and numbers["bare/step_s"] > 0
  assert 0 < numbers["compile/step_s"] < numbers["start/first_step_s"]
  assert 0 < numbers["step/peak_share"] < 1 and len(report["pairs"]) == 2


def test_compiled_programs_are_kept_for_this_user_alone(monkeypatch, tmp_path):
  monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
  assert run("--version") == 0
  cache = tmp_path / ".cache/mdm/xla"
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(cache)
  assert cache.stat().st_mode & 0o777 == 0o700
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
  assert run("--version") == 0
  assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
