"""What a published config.json means here, there and back."""

import json

import pytest
from parity import doge as original

from mdm.interop.doge_config import MIXER, read_config, write_config


@pytest.fixture(scope="module")
def published():
  return json.loads(str(original.numbers()["config"]))


def test_a_published_config_is_read_whole(published):
  network = read_config(published)
  mixer = network.pop("mixer")
  assert network == {
    "name": "decoder.Decoder", "vocab_size": 32, "width": 32, "depth": 2,
    "mlp_ratio": 1.25, "bos_id": 1, "ties_head": True, "init_std": 0.02,
    "dropout": 0.0, "epsilon": 1e-6,
  }  # fmt: skip
  assert mixer == {
    "name": MIXER, "heads": 4, "kv_heads": 2, "head_width": 8, "qk_norm": True,
    "theta": 500.0, "epsilon": 1e-6, "window": 6, "bias_mode": "exp",
  }  # fmt: skip


def test_what_is_missing_is_as_the_original_has_it():
  network = read_config({"model_type": "doge", "bos_token_id": 0})
  assert (network["depth"], network["width"], network["vocab_size"]) == (
    32,
    1024,
    32768,
  )
  assert network["mlp_ratio"] == 2.0
  assert not network["ties_head"]
  assert network["mixer"]["kv_heads"] == network["mixer"]["heads"] == 8
  assert network["mixer"]["head_width"] == 128


@pytest.mark.parametrize("older", [{"rope_theta": 7.0}, {"rope_scaling": None}])
def test_the_older_form_of_rotations_is_read(published, older):
  config = {k: v for k, v in published.items() if k != "rope_parameters"} | older
  assert read_config(config)["mixer"]["theta"] == older.get("rope_theta", 10_000.0)


def test_a_network_written_is_the_network_read(published):
  network = read_config(published)
  written = write_config(network, 64)
  assert read_config(written) == network
  assert {k: published[k] for k in written if k != "head_dim"} == {
    k: v for k, v in written.items() if k != "head_dim"
  }


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"model_type": "llama"}, "model_type = 'llama'"),
    ({"is_moe": True}, "is_moe = True"),
    ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
    ({"attention_bias": True}, "attention_bias = True"),
    ({"sliding_window": 8}, "sliding_window = 8"),
    ({"bos_token_id": None}, "bos_token_id is missing"),
    (
      {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
      "rope_type = 'yarn'",
    ),
  ],
)
def test_what_is_not_computed_here_is_an_error(published, changes, words):
  with pytest.raises(ValueError, match=words):
    read_config(published | changes)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"scales_residual": False}, "network.scales_residual"),
    ({"bos_id": None}, "bos_token_id is missing"),
    ({"mixer": {"name": MIXER, "heads": 4, "bias_mode": "log"}},
     "network.mixer.qk_norm, network.mixer.bias_mode"),
    ({"mixer": {"name": MIXER, "heads": 4, "qk_norm": True, "recent": 8}},
     "network.mixer.recent"),
    ({"mixer": {"name": "mixers.dense.DenseAttention", "heads": 4, "qk_norm": True}},
     "network.mixer.name"),
  ],
)  # fmt: skip
def test_another_network_cannot_be_written(published, changes, words):
  with pytest.raises(ValueError, match=words):
    write_config(read_config(published) | changes)
