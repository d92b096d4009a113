"""Vectors of texts and images: in order, whatever the batch, in bounded memory."""

import json
import shutil

import numpy as np
import pytest
from toys.sentences import WORDS, publish, write_tokenizer

import mdm
from mdm import api, cli
from mdm.api import encoding
from mdm.api.encoding import LENGTHS, TOKENS, batch_texts, padded_length

TEXTS = [
  "w1 w2 w3",
  "",
  "w5",
  "w9 w8 w7 w6 w5 w4 w3 w2 w1 w0 w1 w2 w3",
  "what w1",
  "w5",
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """A checkpoint's folder."""
  folder = tmp_path_factory.mktemp("bert") / "published"
  publish(folder)
  return folder


@pytest.fixture(scope="module")
def model(published, tmp_path_factory):
  folder = tmp_path_factory.mktemp("bert") / "ours"
  report = api.import_weights(published, folder)
  assert report["layout"] == "bert" and report["method"] == "text.simcse"
  return mdm.load(folder)


def test_texts_are_marked_cut_and_encoded_as_their_rows_alone(model):
  found = model.encode(TEXTS)
  rows = [[2, *(WORDS.index(w) if w in WORDS else 1 for w in t.split()[:7]), 3]
          for t in TEXTS]  # fmt: skip
  for vector, row in zip(found, rows, strict=True):
    alone = model.method.apply(
      model.variables, {"tokens": np.array([row])}, method="encode"
    )
    np.testing.assert_allclose(vector, alone[0], atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_one_text_is_a_list_of_one_and_none_gives_none(model):
  assert model.encode("w1").shape == (1, 24)
  assert len(model.encode([])) == 0


def test_batches_and_windows_change_nothing_but_rounding(model, monkeypatch):
  whole = model.encode(TEXTS)
  np.testing.assert_allclose(model.encode(TEXTS, batch=1), whole, atol=1e-6)
  monkeypatch.setattr(encoding, "windows", lambda items, unit: [items[:2], items[2:]])
  np.testing.assert_allclose(model.encode(TEXTS), whole, atol=1e-6)


def test_ten_thousand_texts_are_tokenized_a_window_at_a_time(
  model, monkeypatch, capsys
):
  most = []
  tokenize = encoding.EncodingModel._tokenize
  monkeypatch.setattr(
    encoding.EncodingModel,
    "_tokenize",
    lambda self, texts: (most.append(len(texts)), tokenize(self, texts))[1],
  )
  found = model.encode([f"w{k % 9}" for k in range(10_000)])
  assert max(most) <= 1024 and sum(most) == 10_000 and found.shape == (10_000, 24)
  np.testing.assert_allclose(found[9_999], found[0], atol=1e-6)
  assert "texts/s" in capsys.readouterr().err


def test_batches_hold_every_row_once_padded_to_few_shapes():
  rows = [np.arange(1, n + 1, dtype=np.int32) for n in (3, 600, 8, 9, 512, 3, 0, 40)]
  seen, shapes = [], set()
  for numbers, batch in batch_texts(rows, 4):
    shapes.add(batch["tokens"].shape)
    for row, number in enumerate(numbers):
      real = batch["tokens"][row][batch["valid"][row]]
      np.testing.assert_array_equal(real, rows[number])
      seen.append(number)
    assert not batch["valid"][len(numbers) :].any()
  assert sorted(seen) == list(range(8))
  assert shapes == {(4, 8), (1, 12), (1, 48), (1, 512), (1, 640)}


def test_a_batch_holds_no_more_tokens_than_said():
  rows = [np.zeros(100, np.int32)] * 50
  sizes = [batch["tokens"].size for _, batch in batch_texts(rows)]
  assert max(sizes) <= TOKENS and padded_length(100) == 128 in LENGTHS


def test_images_have_vectors_by_the_same_verb(tiny_mae):
  mae = mdm.load(tiny_mae)
  images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
  found = mae.encode(list(images), pool="cls")
  whole = mae.method.apply(
    mae.variables, {"image": images}, pool="cls", method="encode"
  )
  np.testing.assert_allclose(found, whole, atol=1e-5)


def test_export_then_import_is_the_identity(model, published, tmp_path):
  api.export(model.folder, tmp_path / "back", layout="bert")
  for name in ("config.json", "modules.json", "1_Pooling/config.json"):
    there, here = published / name, tmp_path / "back" / name
    assert json.loads(here.read_text()) == json.loads(there.read_text())
  api.import_weights(tmp_path / "back", tmp_path / "again")
  again = mdm.load(tmp_path / "again")
  np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))


def test_a_tokenizer_of_another_vocabulary_is_refused(model, tmp_path):
  shutil.copytree(model.folder, tmp_path / "model")
  write_tokenizer(tmp_path / "model/tokenizer.json", [*WORDS, "more"])
  with pytest.raises(ValueError, match="has 41 tokens and the model knows 40"):
    mdm.load(tmp_path / "model").encode("w1")


@pytest.mark.parametrize(
  ("given", "settings", "answer"),
  [
    ([3], {}, "int is no text"),
    (["w1"], {"batch": 0}, "batch = 0 must be 1 or more"),
  ],
)
def test_what_is_no_text_is_refused(model, given, settings, answer):
  with pytest.raises(ValueError, match=answer):
    model.encode(given, **settings)


def test_a_reader_gives_no_vectors(tiny):
  with pytest.raises(ValueError, match="encodes neither texts nor images by name"):
    mdm.load(tiny.run).encode("a.png")


def test_a_folder_of_another_kind_of_model_is_told(tmp_path, capsys):
  (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
  assert cli.main(["import", f"{tmp_path}", f"{tmp_path / 'out'}"]) == 1
  assert "model_type 'gpt2', which is not known here" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_a_setting_may_be_changed_on_the_way(published, tmp_path):
  changes = ["model.network.scan=True", "method.pool=cls"]
  api.import_weights(published, tmp_path / "cls", overrides=changes)
  found = mdm.load(tmp_path / "cls")
  stack = found.variables["params"]["network"]["stack"]
  assert found.method.pool == "cls" and "blocks" in stack
