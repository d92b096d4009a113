"""Published weights of ViT and ViTMAE under our names, there and back."""

import json
import tracemalloc

import jax
import numpy as np
import pytest
from parity import vit as original

from mdm.interop import vit, vit_config

QUERY = "encoder.layer.1.attention.attention.query.weight"
MOVED = {"vit.embeddings.cls_token", "vit.embeddings.position_embeddings"}
KINDS = {"classifier": "vit", "encoder": "vit", "mae": "vit_mae"}


def published(model):
  """Names and arrays as they lie on the hub, without a pooler."""
  weights = original.weights(model)
  return {
    name.replace(*vit.NEWER): array
    for name, array in weights.items()
    if not name.startswith("pooler.")
  }


@pytest.mark.parametrize("scan", [False, True])
def test_an_autoencoder_read_and_written_is_the_same_bit_for_bit(scan):
  config = original.config("mae", scan=scan)
  exported = vit.export_weights(original.params("mae", scan=scan), config)
  weights = published("mae")
  assert exported.keys() == weights.keys()
  for name, array in exported.items():
    if name.endswith(("position_embeddings", "pos_embed")):  # computed here
      np.testing.assert_allclose(array, weights[name], atol=1e-6)
    else:
      np.testing.assert_array_equal(array, weights[name], err_msg=name)


@pytest.mark.parametrize("model", ["classifier", "encoder"])
def test_a_class_tokens_position_moves_into_the_token(model):
  config, weights = original.config(model), published(model)
  exported = vit.export_weights(original.params(model), config)
  assert exported.keys() == weights.keys()
  moved = MOVED | {name.removeprefix("vit.") for name in MOVED}
  for name in weights.keys() - moved:
    np.testing.assert_array_equal(exported[name], weights[name], err_msg=name)
  token, places = sorted(moved & weights.keys())
  for arrays in (weights, exported):
    first = arrays[token] + arrays[places][:, :1]
    wanted = original.params(model)["encoder"]["cls_embedding"]
    np.testing.assert_array_equal(first, wanted)
  np.testing.assert_array_equal(exported[places][:, 1:], weights[places][:, 1:])


@pytest.mark.parametrize("model", KINDS)
def test_written_and_read_again_is_the_same_bit_for_bit(model, tmp_path):
  config, params = original.config(model), original.params(model)
  if model == "classifier":
    config["data"] |= {"crop": "center", "crop_share": 0.8}
  config["data"] = {"crop_share": 1.0} | config["data"]
  classes = ("ant", "bee", "crane", "crane")[: 4 if model == "classifier" else 0]
  vit.save_checkpoint(params, config, tmp_path / "a", KINDS[model], classes=classes)
  again, read = vit.load_checkpoint(tmp_path / "a")
  if config["data"]["crop"] == "stretch":
    del config["data"]["crop_share"]
  assert again == config
  jax.tree.map(np.testing.assert_array_equal, read, params)
  if classes:
    assert vit_config.read_classes(vit.read_files(tmp_path / "a")["config.json"]) == (
      classes
    )


def test_a_pooler_is_passed_over_and_a_prefix_may_be_there():
  weights = original.weights("encoder")
  assert "pooler.dense.weight" in weights
  given = {f"vit.{name}": array for name, array in weights.items()}
  found = vit.import_weights(given, original.config("encoder"))
  jax.tree.map(np.testing.assert_array_equal, found, original.params("encoder"))


def test_all_that_is_wrong_is_listed_at_once():
  wrong = {k: v for k, v in original.weights("mae").items() if not k.endswith(QUERY)}
  wrong |= {"extra": np.zeros(1), "decoder.mask_token": np.zeros((1, 1, 5))}
  wrong |= {"vit.embeddings.position_embeddings": np.zeros((1, 17, 16))}
  with pytest.raises(ValueError, match=r"^weights file a\.safetensors") as error:
    vit.import_weights(wrong, original.config("mae"), "a.safetensors")
  text = str(error.value)
  assert f"missing (1): {QUERY}" in text and "unexpected (1): extra" in text
  assert "decoder.mask_token is [1, 1, 5] there, [1, 1, 12] here" in text
  assert "embeddings.position_embeddings is [1, 17, 16] there, [1, 26, 16]" in text


def test_an_encoder_alone_lacks_what_a_classifier_needs():
  with pytest.raises(ValueError, match=r"missing \(2\): classifier\.bias, classifier"):
    vit.import_weights(original.weights("encoder"), original.config("classifier"))


def test_fixed_positions_that_are_others_are_refused():
  weights = original.weights("mae")
  weights["vit.embeddings.position_embeddings"] = np.ones((1, 26, 16), np.float32)
  with pytest.raises(ValueError, match="is not the fixed table of sines"):
    vit.import_weights(weights, original.config("mae"))


@pytest.mark.parametrize(
  ("name", "content", "answer"),
  [
    ("config.json", "{", "config.json is no JSON; fetch"),
    ("config.json", "[]", "config.json is no JSON object"),
    ("preprocessor_config.json", "[1]", "preprocessor_config.json is no JSON object"),
    ("config.json", None, "config.json does not exist"),
    ("model.safetensors", None, "model.safetensors does not exist"),
    ("model.safetensors", "0" * 99, "model.safetensors is damaged"),
  ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, answer):
  original.write("mae", tmp_path, {})
  (tmp_path / name).unlink()
  if content is not None:
    (tmp_path / name).write_text(content)
  with pytest.raises(ValueError, match=answer):
    vit.load_checkpoint(tmp_path)


def test_a_file_of_pytorch_is_read_where_there_is_no_other(tmp_path, monkeypatch):
  original.write("mae", tmp_path)
  (tmp_path / "pytorch_model.bin").write_bytes(b"of PyTorch")
  asked = []
  read = lambda path: asked.append(path.name) or original.weights("mae")  # noqa: E731
  monkeypatch.setattr(vit.torch_file, "read_arrays", read)
  vit.load_checkpoint(tmp_path)
  assert not asked
  (tmp_path / "model.safetensors").unlink()
  _, params = vit.load_checkpoint(tmp_path)
  assert asked == ["pytorch_model.bin"]
  jax.tree.map(np.testing.assert_array_equal, params, original.params("mae"))


def test_a_config_of_huge_sizes_is_refused_before_anything_is_made(tmp_path):
  original.write("mae", tmp_path)
  given = original.files("mae")["config.json"]
  given |= {"hidden_size": 99_996, "image_size": 100_000, "decoder_hidden_size": 99_999}
  given |= {"num_hidden_layers": 100, "num_attention_heads": 1}
  (tmp_path / "config.json").write_text(json.dumps(given))
  tracemalloc.start()
  with pytest.raises(ValueError, match=r"is of another model; missing"):
    vit.load_checkpoint(tmp_path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 100e6  # names of 1,600 weights; the table of positions has 250 TB
