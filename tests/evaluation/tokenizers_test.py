import json
import shutil

import pytest

from mdm import api
from mdm.evaluation.tokenizers import find_tokenizer, text_settings


def test_a_run_keeps_its_tokenizer_and_needs_no_data(tiny_text, tmp_path):
  shutil.copytree(tiny_text.run, tmp_path / "run")
  model = api.load(tmp_path / "run")
  data = model.cfg.data.to_dict() | {"data_dir": "/nowhere", "tokenizer": "characters"}
  found = find_tokenizer(data, tmp_path / "run")
  assert found.decode(found.encode("and god")) == "and god"
  with pytest.raises(ValueError, match="is not there; run"):
    find_tokenizer(data)


def test_an_exported_model_keeps_it_too(tiny_text, tmp_path):
  api.export(tiny_text.run, tmp_path / "out")
  kept = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
  assert kept["folding"] == "text8"
  card = (tmp_path / "out" / "README.md").read_text()
  assert "mdm sample out --prompt" in card and "predict" not in card
  (found,) = api.load(tmp_path / "out").sample("and", steps=2)
  assert found.text.startswith("and")


def test_pictures_have_no_tokenizer():
  with pytest.raises(ValueError, match="'rendered_words' holds no texts"):
    text_settings({"name": "rendered_words"})
