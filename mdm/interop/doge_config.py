"""What `config.json` of a published Doge checkpoint means here, and the reverse.

Source: transformers 5.23, `models/doge`: names and defaults.
Differences:
  - the mixture of experts is not read: its router mixes the logits of different tokens,
    so that the likelihood of a text depends on what stands beside it.
  - "dynamic" rotations are read as plain ones, which they are up to
    `max_position_embeddings` tokens.
"""

from collections.abc import Collection, Mapping
from typing import Any

MIXER = "mixers.dynamic_mask.DynamicMaskAttention"
DEFAULTS: dict[str, Any] = {  # what is missing in config.json is this
  "vocab_size": 32_768,
  "hidden_size": 1024,
  "intermediate_size": 2048,
  "num_hidden_layers": 32,
  "num_attention_heads": 8,
  "rms_norm_eps": 1e-6,
  "hidden_dropout": 0.0,
  "tie_word_embeddings": False,
  "initializer_range": 0.02,
  "max_position_embeddings": 2048,
  "keep_window_size": 2048,
}
ONLY: dict[str, Any] = {  # settings with a single value that we compute
  "hidden_act": "silu",
  "attention_bias": False,
  "mlp_bias": False,
  "hidden_bias": False,
  "attention_dropout": 0.0,
  "sliding_window": None,
}
FIXED = {"mlp": "swiglu", "scales_residual": True}  # what a Doge is, not a setting
FIXED_MIXER = {"positions": "rope", "recent": 0, "select": "topk", "use_bias": False}
FREE = ("mixer", "mlp_ratio", "scan", "remat", "dtype", "backend", "cache", "a_init")


def read_config(config: Mapping[str, Any], bos_id: int | None = None) -> dict[str, Any]:
  """A network as `config.model.network` names it, from what `config.json` says.

  Args:
    config: the file's content.
    bos_id: what stands before the first token; None for the file's `bos_token_id`.

  Raises:
    ValueError: another model, a setting that is not computed here, or no `bos_id`.
  """
  if config.get("model_type") != "doge":
    raise ValueError(
      f"model_type = {config.get('model_type')!r} of config.json is another model; it "
      "must be 'doge'."
    )
  if config.get("is_moe"):
    raise ValueError(
      "is_moe = True: a mixture of experts is not supported, for its router mixes "
      "tokens; take a checkpoint without experts."
    )
  for name, value in ONLY.items():
    if config.get(name, value) != value:
      raise ValueError(
        f"{name} = {config[name]!r} of config.json is not supported; it must be "
        f"{value!r}."
      )
  bos_id = config.get("bos_token_id") if bos_id is None else bos_id
  if bos_id is None:
    raise ValueError(
      "bos_token_id is missing in config.json; name the token that stands before the "
      "first as bos_id."
    )
  given = {**DEFAULTS, **config}
  width, heads = given["hidden_size"], given["num_attention_heads"]
  return {
    "name": "decoder.Decoder",
    "vocab_size": given["vocab_size"],
    "width": width,
    "depth": given["num_hidden_layers"],
    "mlp_ratio": given["intermediate_size"] / width,
    "bos_id": bos_id,
    "ties_head": given["tie_word_embeddings"],
    "init_std": given["initializer_range"],
    "dropout": given["hidden_dropout"],
    "epsilon": given["rms_norm_eps"],
    "mixer": {
      "name": MIXER,
      "heads": heads,
      "kv_heads": given.get("num_key_value_heads") or heads,
      "head_width": given.get("head_dim") or width // heads,
      "qk_norm": True,
      "theta": _read_theta(given),
      "epsilon": given["rms_norm_eps"],
      "window": given["keep_window_size"],
      "bias_mode": "exp",
    },
  }


def write_config(network: Mapping[str, Any], length: int = 2048) -> dict[str, Any]:
  """`config.json` of a network; `read_config` of it is the network again.

  Args:
    network: as `config.model.network` names it.
    length: tokens that it was trained on, `max_position_embeddings`.

  Raises:
    ValueError: a network that is no Doge.
  """
  mixer = {"qk_norm": False, "epsilon": 1e-6, **network["mixer"]}
  config = {
    "architectures": ["DogeForCausalLM"],
    "model_type": "doge",
    "vocab_size": network["vocab_size"],
    "hidden_size": network["width"],
    "intermediate_size": round(network["width"] * network.get("mlp_ratio", 4.0)),
    "num_hidden_layers": network["depth"],
    "hidden_dropout": network.get("dropout", 0.0),
    "initializer_range": network.get("init_std", 0.02),
    "rms_norm_eps": network.get("epsilon", 1e-6),
    "tie_word_embeddings": network.get("ties_head", True),
    "max_position_embeddings": length,
    "rope_parameters": {
      "rope_type": "default",
      "rope_theta": mixer.get("theta", 10_000.0),
    },
    "num_attention_heads": mixer["heads"],
    "num_key_value_heads": mixer.get("kv_heads") or mixer["heads"],
    "head_dim": mixer.get("head_width") or network["width"] // mixer["heads"],
    "keep_window_size": mixer.get("window", 2048),
    "bos_token_id": network.get("bos_id"),
  }
  ours = read_config(config)
  wrong = _others(network, ours | FIXED, FREE)
  wrong += [f"mixer.{x}" for x in _others(mixer, ours["mixer"] | FIXED_MIXER, FREE)]
  if wrong:
    raise ValueError(
      f"{', '.join(f'network.{x}' for x in wrong)}: published Doge models have no such "
      "setting; a network of other blocks cannot be written as one."
    )
  return config


def _read_theta(config: Mapping[str, Any]) -> float:
  """The rotation's base, from either of the two forms of config.json."""
  rope = config.get("rope_parameters") or {
    **(config.get("rope_scaling") or {}),
    "rope_theta": config.get("rope_theta", 10_000.0),
  }
  kind = rope.get("rope_type") or rope.get("type") or "default"
  if kind not in ("default", "dynamic"):
    raise ValueError(
      f"rope_type = {kind!r} of config.json is not supported; it must be 'default', or "
      "'dynamic', which is the same up to max_position_embeddings."
    )
  return float(rope["rope_theta"])


def _others(
  given: Mapping[str, Any], known: Mapping[str, Any], free: Collection[str]
) -> list[str]:
  """Settings that are not as known, and not free."""
  return [
    name
    for name, value in given.items()
    if name not in free and value is not None and value != known.get(name)
  ]
