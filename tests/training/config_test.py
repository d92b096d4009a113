"""Configs: read, overridden, compared; unknown names lead to the nearest known."""

import json

import ml_collections
import pytest

from mdm.training import config

SOURCE = """
from mdm.training import config

def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.mdiff4str", "mask_ratio": 0.5}
  cfg.train.steps = 7
  return cfg
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "small.py"
  path.write_text(SOURCE)
  return path


def test_a_file_is_merged_over_the_defaults_and_locked(file):
  cfg = config.load(file)
  assert (cfg.train.steps, cfg.train.batch) == (7, config.base().train.batch)
  assert cfg.is_locked
  with pytest.raises(AttributeError):
    cfg.train.stepz = 1


@pytest.mark.parametrize(
  ("text", "value"),
  [("0.6", 0.6), ("3", 3), ("true", True), ("None", None), ("null", None),
   ("adamw", "adamw"),
   ("5%", "5%"), ("2 epochs", "2 epochs"), ("(1, 2)", [1, 2]), ("[1]", [1]),
   ("'7'", "7")],
)  # fmt: skip
def test_an_override_is_a_literal_or_a_word(file, text, value):
  cfg = config.load(file, [f"method.mask_ratio={text}"])
  assert cfg.method.mask_ratio == value
  assert type(cfg.method.mask_ratio) is type(value)


def test_an_override_may_add_a_setting_to_an_open_section(file):
  assert config.load(file, ["method.new=1"]).method.new == 1


@pytest.mark.parametrize(
  ("override", "message"),
  [
    ("train.steps", r"has no value; write --set section\.key=value"),
    ("trian.steps=3", "'trian' is not a section .*did you mean train"),
    ("sede=3", "'sede' is not a config key .*did you mean seed"),
    ("seed.x=3", "seed is a value, not a section"),
  ],
)
def test_a_bad_override_is_told_from_what_is_meant(file, override, message):
  with pytest.raises(ValueError, match=message):
    config.load(file, [override])


def test_an_unknown_section_leads_to_the_nearest(tmp_path):
  path = tmp_path / "c.py"
  path.write_text("def get_config():\n  return {'optimiser': {}}\n")
  with pytest.raises(ValueError, match=r"'optimiser' is not a section .*optimizer\?"):
    config.load(path)


def test_a_file_without_get_config_says_what_to_add(tmp_path):
  path = tmp_path / "c.py"
  path.write_text("x = 1\n")
  with pytest.raises(ValueError, match=r"defines no get_config\(\); add the function"):
    config.load(path)


def test_a_missing_file_leads_to_files_of_like_name(tmp_path, monkeypatch):
  (tmp_path / "configs" / "diffusion").mkdir(parents=True)
  (tmp_path / "configs" / "diffusion" / "reader.py").write_text(SOURCE)
  monkeypatch.chdir(tmp_path)
  with pytest.raises(
    ValueError, match=r"does not exist; .*Nearest: configs/diffusion/reader"
  ):
    config.load("configs/diffusion/raeder.py")


@pytest.mark.parametrize(
  "name",
  ["diffusion/md4_chars", "diffusion/md4_chars.py", "configs/diffusion/md4_chars"],
)
def test_a_config_of_the_package_is_found_by_name_anywhere(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config.load(name).method.name == "diffusion.md4"
  with pytest.raises(ValueError, match=r"Nearest: diffusion/md4_chars"):
    config.load("diffusion/md4_char")


def test_a_file_here_goes_before_one_of_the_package(tmp_path, monkeypatch):
  (tmp_path / "configs" / "diffusion").mkdir(parents=True)
  (tmp_path / "configs" / "diffusion" / "md4_chars.py").write_text(SOURCE)
  monkeypatch.chdir(tmp_path)
  assert config.find("configs/diffusion/md4_chars.py").read_text() == SOURCE


def test_a_run_stands_for_the_config_stored_in_it(file, tmp_path):
  cfg = config.load(file, ["seed=5"])
  (tmp_path / "config.json").write_text(config.to_json(cfg))
  again = config.load(tmp_path)
  assert again.to_dict() == cfg.to_dict()
  assert config.differences(cfg.to_dict(), again.to_dict()) == []


def test_broken_json_is_named(tmp_path):
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
    config.load(tmp_path)


def test_differences_name_both_values_and_pass_over_what_a_resume_may_change():
  a, b = config.base().to_dict(), config.base().to_dict()
  a["train"].update(steps=9, batch=1)
  a["sharding"]["preset"] = "fsdp"
  a["method"] = {"x": 1}
  a["data"] = {"data_dir": "here", "on_corrupt": "skip"}
  b["data"] = {"data_dir": "there"}
  assert config.differences(a, b) == ["method.x: None there, 1 here",
                                      "train.batch: 64 there, 1 here"]  # fmt: skip


def test_every_resumable_key_exists():
  known = config.base().to_dict()
  for name in config.RESUMABLE:
    section, _, key = name.partition(".")
    assert section in known
    assert not key or key in known[section] or section in config.OPEN_SECTIONS


def test_lists_and_tuples_are_the_same_once_stored():
  one = ml_collections.ConfigDict({"data": {"image_size": (32, 96)}}).to_dict()
  assert config.differences(one, json.loads(json.dumps(one))) == []


def test_settings_come_back_from_overrides_as_they_were():
  given = {"patch": 4, "positions": "none", "scale": 1e-3, "areas": [0.2, 1.0]}
  cfg = config.base()
  for override in config.as_overrides("model", given):
    config.apply_override(cfg, override)
  assert cfg.model.to_dict() == given
