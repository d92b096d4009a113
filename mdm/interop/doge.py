"""Published Doge checkpoints: their weights as ours, and ours as theirs.

Theirs is a folder with `config.json` and `model.safetensors`; a linear map is stored
[out, in] there, [in, heads, width] here. Ours is a network as a config names it
(`decoder.Decoder` with `mixers.dynamic_mask.DynamicMaskAttention`) and its parameters.
What is read is complete, or an error that lists every weight that is not; what is
written and read again is the same, bit for bit.

Source: transformers 5.23, `models/doge`: names and shapes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdm.interop import layout, safetensors
from mdm.interop.doge_config import read_config, write_config
from mdm.interop.layout import Arrays, Params, Weight, linear, plain

CONFIG, WEIGHTS = "config.json", "model.safetensors"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def import_weights(
  arrays: Arrays, network: Mapping[str, Any], source: str | Path = "(given)"
) -> Params:
  """Parameters of the network, float32, from published weights.

  Args:
    arrays: by their published names.
    network: from `read_config`; `scan` may be set, for stacked layers.
    source: the file, for errors.

  Raises:
    ValueError: listing all weights that are missing, unexpected or misshapen.
  """
  weights = published_weights(network)
  if network.get("ties_head", True):
    arrays = _without_copy(arrays)
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  safetensors.check_arrays(arrays, layout.stored_shapes(weights), source)
  params = layout.read_params(arrays, weights)
  depth = network["depth"]
  return layout.stack_layers(params, depth) if network.get("scan") else params


def export_weights(params: Params, network: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Parameters of the network under their published names, shapes and order.

  Raises:
    ValueError: listing all parameters that are missing, unexpected or misshapen.
  """
  if network.get("scan"):
    params = layout.unstack_layers(params, network["depth"])
  return layout.write_arrays(params, published_weights(network))


def load_checkpoint(folder: str | Path) -> tuple[dict[str, Any], Params]:
  """The network of a published checkpoint's folder, and its parameters.

  Raises:
    ValueError: a file is missing or damaged, or the model is no Doge.
  """
  folder = Path(folder)
  if not (folder / CONFIG).is_file():
    raise ValueError(f"{folder / CONFIG} does not exist; name a checkpoint's folder.")
  network = read_config(json.loads((folder / CONFIG).read_text()))
  arrays, _ = safetensors.read_arrays(folder / WEIGHTS)
  return network, import_weights(arrays, network, folder / WEIGHTS)


def save_checkpoint(
  params: Params, network: Mapping[str, Any], folder: str | Path, length: int = 2048
) -> None:
  """Writes a folder that transformers' `from_pretrained` reads; see `write_config`."""
  folder = Path(folder)
  config, arrays = write_config(network, length), export_weights(params, network)
  folder.mkdir(parents=True, exist_ok=True)
  safetensors.save_variables(arrays, folder / WEIGHTS, {"format": "pt"})
  (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def published_weights(network: Mapping[str, Any]) -> list[Weight]:
  """Every weight of a network, in the published order."""
  mixer, d, v = network["mixer"], network["width"], network["vocab_size"]
  h, g = mixer["heads"], mixer.get("kv_heads") or mixer["heads"]
  k = mixer.get("head_width") or d // h
  hidden = round(d * network.get("mlp_ratio", 4.0))
  layer = [
    plain("input_residual", ("mixer_scale",), (d,)),
    plain("post_attention_residual", ("mlp_scale",), (d,)),
    plain("input_layernorm.weight", ("norm_mixer", "scale"), (d,)),
    plain("self_attn.A", ("mixer", "A"), (g,)),
    linear("self_attn.q_proj.weight", ("mixer", "query", "kernel"), (d, h, k)),
    linear("self_attn.k_proj.weight", ("mixer", "key", "kernel"), (d, g, k)),
    linear("self_attn.v_proj.weight", ("mixer", "value", "kernel"), (d, g, k)),
    linear("self_attn.dt_proj.weight", ("mixer", "dt", "kernel"), (g, k, g), 2),
    linear("self_attn.o_proj.weight", ("mixer", "out", "kernel"), (h, k, d), 2),
    plain("self_attn.q_norm.weight", ("mixer", "query_norm", "scale"), (k,)),
    plain("self_attn.k_norm.weight", ("mixer", "key_norm", "scale"), (k,)),
    plain("post_attention_layernorm.weight", ("norm_mlp", "scale"), (d,)),
    linear("mlp.gate_proj.weight", ("mlp", "gate", "kernel"), (d, hidden)),
    linear("mlp.up_proj.weight", ("mlp", "up", "kernel"), (d, hidden)),
    linear("mlp.down_proj.weight", ("mlp", "down", "kernel"), (hidden, d)),
  ]
  weights = [plain(EMBEDDING, ("embedding",), (v, d))]
  for i in range(network["depth"]):
    weights += [
      w._replace(name=f"model.layers.{i}.{w.name}", path=(f"block_{i}", *w.path))
      for w in layer
    ]
  weights.append(plain("model.norm.weight", ("norm", "scale"), (d,)))
  if not network.get("ties_head", True):
    weights.append(linear(HEAD, ("head",), (d, v)))
  return weights


def _without_copy(arrays: Arrays) -> Arrays:
  """The arrays without a head that only repeats the embedding."""
  if HEAD not in arrays or EMBEDDING not in arrays:
    return arrays
  if not np.array_equal(arrays[HEAD], arrays[EMBEDDING]):
    return arrays
  return {name: x for name, x in arrays.items() if name != HEAD}
