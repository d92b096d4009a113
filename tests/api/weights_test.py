"""Weights apart from a run: exported, named, moved, damaged."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import mdm
from mdm import api, cli, pretrained
from mdm.api import saving, weights
from mdm.interop import safetensors
from mdm.training import config

ROOT = Path(__file__).parents[2]


def run(*args):
  return cli.main([str(a) for a in args])


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
  folder = tmp_path_factory.mktemp("weights") / "reader"
  api.export(tiny.run, folder)
  return folder


@pytest.fixture
def copied(exported, tmp_path):
  return shutil.copytree(exported, tmp_path / "reader")


@pytest.fixture
def shipped(exported, tmp_path, monkeypatch):
  shutil.copytree(exported, tmp_path / "home" / "reader")
  monkeypatch.setattr(pretrained, "HOME", tmp_path / "home")


def test_exported_weights_are_the_runs_own(tiny, exported):
  ours, theirs = mdm.load(exported), mdm.load(tiny.run)
  assert ours.step == theirs.step == 2
  for a, b in zip(
    jax.tree.leaves(ours.variables), jax.tree.leaves(theirs.variables), strict=True
  ):
    assert (np.asarray(a) == np.asarray(b)).all()


def test_exported_weights_read_as_the_run_does(tiny, exported):
  ours, theirs = (mdm.load(m).predict(tiny.image)[0] for m in (exported, tiny.run))
  assert ours == theirs


def test_bfloat16_halves_the_file(tiny, exported, tmp_path):
  report = api.export(tiny.run, tmp_path / "half", dtype="bfloat16")
  whole = (exported / "model.safetensors").stat().st_size
  assert 0.45 < report["bytes"] / whole < 0.55
  leaves = jax.tree.leaves(mdm.load(tmp_path / "half").variables["params"])
  assert {leaf.dtype.name for leaf in leaves} == {"float32"}


def test_the_config_holds_no_local_path(tiny, exported):
  text = (exported / "config.json").read_text()
  assert str(tiny.run.parent) not in text
  assert json.loads(text)["data"]["data_dir"] is None


def test_a_dictionary_file_comes_along(tmp_path):
  dictionary = tmp_path / "mine.txt"
  dictionary.write_text("a\nb\n")
  cfg = config.base()
  cfg.data = {"name": "folder", "charset": str(dictionary), "folder": "words"}
  (tmp_path / "out").mkdir()
  found = saving.portable_config(cfg, tmp_path / "out")
  (tmp_path / "out" / "config.json").write_text(config.to_json(found))
  dictionary.unlink()
  loaded = weights.load_config(tmp_path / "out")
  assert loaded.data.charset == str(tmp_path / "out" / "charset.txt")
  assert loaded.data.folder is None


def test_fonts_beside_the_recipe_stay_in_the_config(tmp_path):
  cfg = config.base()
  cfg.data = {"fonts_dir": "fonts", "photos_dir": "/home/me", "labels": ""}
  found = saving.portable_config(cfg, tmp_path).data
  assert (found.fonts_dir, found.photos_dir) == ("fonts", None)


def test_the_card_tells_data_steps_hardware_seed_and_limits(exported):
  card = (exported / "README.md").read_text()
  for part in ("rendered_words", "2 of 2", "cores of", "| seed | 0 |", "jax 0",
               "up to 12 characters", "| loss |", "parameters in float32"):  # fmt: skip
    assert part in card


def test_the_card_takes_a_benchmarks_rows(tiny, tmp_path):
  bench = {
    "data": {"name": "iiit5k"},
    "hardware": "2 cores of X",
    "notes": ["median of 5"],
    "rows": [
      {"reader": "ours lc", "passes": 3, "accuracy": 0.91, "accuracy_stderr": 0.006,
       "count": 2000.0, "images_per_s": 321.0}
    ],
  }  # fmt: skip
  (tmp_path / "bench.json").write_text(json.dumps(bench))
  path = tmp_path / "bench.json"
  given = ("--metrics", path, "--note", "Trained by", "--note", "hand.")
  assert run("export", tiny.run, tmp_path / "out", *given) == 0
  card = (tmp_path / "out" / "README.md").read_text()
  assert "| note | Trained by hand. |" in card
  assert "| iiit5k, 2000 words | ours lc | 3 | 91.0% ± 0.6 | 321 |" in card
  assert "on 2 cores of X. median of 5." in card


def test_a_file_that_is_no_benchmark_is_refused(tiny, capsys, tmp_path):
  (tmp_path / "x.json").write_text("[1]")
  args = ["export", tiny.run, tmp_path / "out", "--metrics", tmp_path / "x.json"]
  assert run(*args) == 1
  assert "no result of `mdm bench reader" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unless_forced(tiny, copied, capsys):
  mine = copied / "mine.txt"
  mine.write_text("kept")
  assert run("export", tiny.run, copied) == 1
  assert "--force" in capsys.readouterr().err
  assert run("export", tiny.run, copied, "--force") == 0
  assert mine.read_text() == "kept"


def test_a_run_without_a_checkpoint_is_refused(tiny, capsys, tmp_path):
  shutil.copytree(
    tiny.run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")
  )
  assert run("export", tmp_path / "run", tmp_path / "out") == 1
  assert "holds no checkpoint" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_an_unknown_dtype_or_an_exported_source_is_refused(tiny, exported, capsys):
  assert run("export", tiny.run, exported / "x", "--dtype", "bfloat61") == 1
  assert "bfloat16" in capsys.readouterr().err
  assert run("export", exported, exported / "x") == 1
  assert "exported already" in capsys.readouterr().err


def test_a_shipped_model_is_found_by_its_name(shipped, tiny, capsys, monkeypatch):
  monkeypatch.chdir(tiny.run.parent)  # holds no folder of that name
  assert run("predict", "reader", tiny.image) == 0
  assert run("plot", "reader", tiny.image, "--out", "passes.png") == 0
  overrides = [f"--set={o}" for o in tiny.overrides if o.startswith("data.")]
  assert run("eval", "reader", *overrides, "--set", "eval.words.batch=16") == 0
  assert "words/accuracy" in capsys.readouterr().out


def test_an_unknown_name_lists_the_known_ones(shipped, capsys):
  assert run("predict", "raeder", "x.png") == 1
  message = capsys.readouterr().err
  assert "did you mean reader?" in message and "known: reader" in message


def test_weights_of_another_shape_are_refused_before_compilation(
  copied, tiny, monkeypatch, capsys
):
  path = copied / "model.safetensors"
  arrays, _ = safetensors.read_arrays(path)
  tree = {"params": {k.removeprefix("params/"): v for k, v in arrays.items()}}
  name = "classifier/kernel"
  tree["params"][name] = tree["params"][name][:, :-1]
  safetensors.save_variables(tree, path)
  monkeypatch.setattr(jax, "jit", None)  # whatever compiles would fail
  assert run("predict", copied, tiny.image) == 1
  message = capsys.readouterr().err
  assert "misshapen (1): params/classifier/kernel is [128, 36] there" in message
  assert "[128, 37] here" in message and message.count("\n") == 1


def test_another_librarys_folder_is_told_as_such(tmp_path):
  (tmp_path / "config.json").write_text('{"model_type": "bert"}')
  with pytest.raises(
    ValueError, match=r"model_type 'bert'\); bring it over with `mdm i"
  ):
    mdm.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '"a"', "{", "\xff"])
def test_a_config_that_is_none_is_refused_in_one_sentence(tmp_path, text):
  (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
  with pytest.raises(ValueError, match=r"config\.json|method") as error:
    mdm.load(tmp_path)
  assert "\n" not in str(error.value)


def rewrite(folder, version):
  """Weights as that version would write them, with a setting we do not know."""
  arrays, header = safetensors.read_arrays(folder / "model.safetensors")
  header = header | {"version": version}
  safetensors.save_variables(arrays, folder / "model.safetensors", header)
  cfg = json.loads((folder / "config.json").read_text())
  cfg["method"]["foresight"] = 3
  (folder / "config.json").write_text(json.dumps(cfg))


@pytest.mark.parametrize(
  ("version", "is_newer"), [("0.9.1", True), ("0.10.0", True), ("0.0.9", False)]
)
def test_a_config_of_a_newer_version_is_told_as_such(copied, version, is_newer):
  rewrite(copied, version)
  with pytest.raises(ValueError, match="foresight") as error:
    mdm.load(copied)
  assert (f"was written by mdm {version}, and this is" in str(error.value)) == is_newer


def test_cut_weights_are_refused_in_one_sentence(copied, tiny, capsys):
  path = copied / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-100])
  assert run("predict", copied, tiny.image) == 1
  message = capsys.readouterr().err
  assert str(path) in message and "damaged" in message and message.count("\n") == 1


def test_exported_weights_have_one_step(copied):
  assert mdm.load(copied, step=2).step == 2
  with pytest.raises(ValueError, match="is of step 2, the only one"):
    mdm.load(copied, step=1)


@pytest.mark.parametrize(
  ("path", "has_text"), [("ctc_digits", True), ("w2v_bert_prompts", False)]
)
def test_an_example_of_speech_is_a_second_of_it(path, has_text):
  batch = weights.example_batch(config.load(ROOT / f"configs/speech/{path}.py"))
  assert batch["audio"].shape == (1, 8_000) and batch["audio_length"].shape == (1,)
  assert ("tokens" in batch) == ("valid" in batch) == has_text
