"""Published BERT weights under our names, there and back, and what is refused."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import bert as original

from mdm.interop import bert, bert_config, safetensors
from mdm.training import build

QUERY = "encoder.layer.1.attention.self.query.weight"


@functools.cache
def shapes(scan):
  """Paths and shapes that the network itself has."""
  spec = original.network(scan=scan)
  network = build.build_network(spec, "model.network", jnp.dtype("float32"))
  found = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4), int))
  return {k: v.shape for k, v in safetensors.flatten(nn.unbox(found)["params"]).items()}


@pytest.mark.parametrize("scan", [False, True])
def test_imported_weights_are_the_networks_parameters(scan):
  leaves = safetensors.flatten(original.params(scan=scan))
  assert {k: v.shape for k, v in leaves.items()} == shapes(scan)


@pytest.mark.parametrize("scan", [False, True])
def test_exported_and_imported_again_is_the_same_bit_for_bit(scan):
  network = original.network(scan=scan)
  exported = bert.export_weights(original.params(scan=scan), network)
  weights = original.weights()
  assert exported.keys() == weights.keys()
  for name, array in exported.items():
    np.testing.assert_array_equal(array, weights[name])


def test_a_prefix_and_heads_that_predict_are_passed_over():
  weights = {f"bert.{name}": x for name, x in original.weights().items()}
  weights |= {
    "cls.predictions.bias": np.zeros(40),
    "bert.pooler.dense.bias": np.ones(2),
  }
  found = bert.import_weights(weights, original.network())
  jax.tree.map(np.testing.assert_array_equal, found, original.params())


def test_all_that_is_wrong_is_listed_at_once():
  weights = original.weights()
  wrong = {k: v for k, v in weights.items() if k != QUERY}
  wrong |= {"extra": np.zeros(1), "embeddings.LayerNorm.bias": np.zeros(5)}
  with pytest.raises(ValueError, match=r"missing \(1\): encoder\.layer\.1") as error:
    bert.import_weights(wrong, original.network(), "a.safetensors")
  text = str(error.value)
  assert QUERY in text and "unexpected (1): extra" in text
  assert "embeddings.LayerNorm.bias is [5] there, [24] here" in text


CONFIG = {
  "method": {"name": "text.simcse", "pool": "cls", "normalises": True},
  "data": {"name": "text", "tokenizer": "tokenizer.json", "length": 9},
}


def test_a_folder_written_is_the_folder_read(tmp_path):
  config = CONFIG | {"model": {"network": original.network()}}
  bert.save_checkpoint(original.params(), config, tmp_path / "bert")
  again, params = bert.load_checkpoint(tmp_path / "bert")
  assert again == config
  jax.tree.map(np.testing.assert_array_equal, params, original.params())


def write(folder, name, content):
  (folder / name).parent.mkdir(parents=True, exist_ok=True)
  (folder / name).write_text(
    content if isinstance(content, str) else json.dumps(content)
  )


@pytest.mark.parametrize(
  ("name", "content", "answer"),
  [
    ("config.json", "{", "config.json is no JSON"),
    ("config.json", {"model_type": "gpt2"}, "model_type = 'gpt2' is no BERT"),
    (
      "config.json",
      {"model_type": "bert", "hidden_act": "mish"},
      "hidden_act = 'mish' is not computed here",
    ),
    (
      "config.json",
      {"model_type": "bert", "position_embedding_type": "relative_key"},
      "position_embedding_type = 'relative_key' is not computed here",
    ),
    (
      "1_Pooling/config.json",
      {"pooling_mode_mean_sqrt_len_tokens": True},
      "asks for pooling_mode_mean_sqrt_len_tokens",
    ),
    ("modules.json", [{"type": "a.models.Dense"}], "has a module Dense"),
  ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, answer):
  config = CONFIG | {"model": {"network": original.network()}}
  bert.save_checkpoint(original.params(), config, tmp_path)
  write(tmp_path, name, content)
  with pytest.raises(ValueError, match=answer):
    bert.load_checkpoint(tmp_path)


def test_a_folder_without_a_config_is_no_checkpoint(tmp_path):
  with pytest.raises(ValueError, match=r"config\.json does not exist"):
    bert.load_checkpoint(tmp_path)


def test_without_the_files_of_sentences_the_mean_is_taken_as_it_is():
  found = bert_config.read_config(original.files())
  assert found["method"] == {"name": "text.simcse", "pool": "mean", "normalises": False}
  assert found["data"]["length"] == 12
