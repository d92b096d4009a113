"""What comes with the package: each model whole, small, and of the present code."""

import json

import pytest

import mdm
from mdm import pretrained
from mdm.interop import safetensors

LARGEST = 12_000_000  # bytes


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path, monkeypatch):
  (tmp_path / "reader").mkdir()
  (tmp_path / "reader" / pretrained.WEIGHTS).touch()
  (tmp_path / "half").mkdir()
  monkeypatch.setattr(pretrained, "HOME", tmp_path)
  assert pretrained.available() == ["reader"]
  assert pretrained.find("reader") == tmp_path / "reader"
  with pytest.raises(ValueError, match=r"did you mean reader\? known: reader"):
    pretrained.find("readr")


def test_without_any_model_the_error_says_so(tmp_path, monkeypatch):
  monkeypatch.setattr(pretrained, "HOME", tmp_path)
  with pytest.raises(ValueError, match="known: none"):
    pretrained.find("reader")


@pytest.mark.parametrize("name", pretrained.available())
def test_a_model_that_comes_with_mdm_is_whole_small_and_loads(name):
  folder = pretrained.find(name)
  assert (folder / pretrained.WEIGHTS).stat().st_size <= LARGEST
  assert "## Limits" in (folder / "README.md").read_text()
  data = json.loads((folder / "config.json").read_text())["data"]
  assert not any(str(value).startswith(("/", "~", ".")) for value in data.values())
  arrays, _ = safetensors.read_arrays(folder / pretrained.WEIGHTS)
  assert len(arrays) == len(safetensors.flatten(mdm.load(name).variables))
