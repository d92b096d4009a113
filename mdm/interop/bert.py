"""Published BERT encoders: their weights as ours, and ours as theirs.

Theirs is a folder with `config.json`, `model.safetensors` and a `tokenizer.json`; one
of sentence-transformers says in `1_Pooling/config.json`, `modules.json` and
`sentence_bert_config.json` how states become a vector. Ours is `nn.bert.Bert` under
`methods.text.simcse.SimCSE`. What is read is complete, or an error that lists every
weight that is not; what is written and read again is the same, bit for bit.

Source: transformers 5.23, `models/bert`, and sentence-transformers: names and shapes.
Differences:
  - a pooler and heads that predict (`pooler.*`, `cls.*`) are not read: vectors of
    sentences have no use for them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdm.interop import layout, safetensors
from mdm.interop.bert_config import FILES, read_config, write_config
from mdm.interop.layout import Arrays, Params, Weight, affine, norm, plain

CONFIG, WEIGHTS, PREFIX = "config.json", "model.safetensors", "bert."
UNREAD = ("pooler.", "cls.", "embeddings.position_ids")
QKV = ("qkv", ("query", "key", "value"))


def import_weights(
  arrays: Arrays, network: Mapping[str, Any], source: str | Path = "(given)"
) -> Params:
  """Parameters of the network, float32, from published weights.

  Args:
    arrays: by their published names, with or without "bert." before them.
    network: from `read_config`; `scan` may be set, for stacked layers.
    source: the file, for errors.

  Raises:
    ValueError: listing all weights that are missing, unexpected or misshapen.
  """
  weights = published_weights(network)
  bare = {name.removeprefix(PREFIX): np.asarray(x) for name, x in arrays.items()}
  bare = {name: x for name, x in bare.items() if not name.startswith(UNREAD)}
  stored = layout.stored_shapes(layout.apart(weights, *QKV))
  safetensors.check_arrays(bare, stored, source)
  params = layout.read_params(layout.fuse(bare, weights, *QKV), weights)
  if network.get("scan"):
    params["stack"] = layout.stack_layers(params["stack"], network["depth"])
  return params


def export_weights(params: Params, network: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Parameters of the network under their published names.

  Raises:
    ValueError: listing all parameters that are missing, unexpected or misshapen.
  """
  if network.get("scan"):
    stack = layout.unstack_layers(params["stack"], network["depth"])
    params = {**params, "stack": stack}
  arrays = layout.write_arrays(params, published_weights(network))
  return layout.split(arrays, *QKV)


def load_checkpoint(folder: str | Path) -> tuple[dict[str, Any], Params]:
  """Sections `method`, `model` and `data` that a folder stands for, and parameters.

  Raises:
    ValueError: a file is missing or damaged, or the model is no BERT.
  """
  folder = Path(folder)
  if not (folder / CONFIG).is_file():
    raise ValueError(f"{folder / CONFIG} does not exist; name a checkpoint's folder.")
  given = {name: layout.read_json(folder / name) for name in FILES}
  config = read_config(given)
  arrays, _ = safetensors.read_arrays(folder / WEIGHTS)
  network = config["model"]["network"]
  return config, import_weights(arrays, network, folder / WEIGHTS)


def save_checkpoint(
  params: Params, config: Mapping[str, Any], folder: str | Path
) -> None:
  """Writes a folder that transformers' and sentence-transformers' loaders read.

  Args:
    params: of the network.
    config: its sections `method`, `model` and `data`.
    folder: made if need be.
  """
  folder = Path(folder)
  arrays = export_weights(params, config["model"]["network"])
  for name, content in write_config(config).items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2) + "\n")
  safetensors.save_variables(arrays, folder / WEIGHTS, {"format": "pt"})


def published_weights(network: Mapping[str, Any]) -> list[Weight]:
  """Every weight of a network, queries, keys and values of a layer as one, "qkv"."""
  d, h = network["width"], network["heads"]
  hidden = round(d * network["mlp_ratio"])
  tables = {"word": "vocab_size", "position": "length", "token_type": "types"}
  weights = [
    plain(
      f"embeddings.{name}_embeddings.weight",
      (f"{name.removeprefix('token_')}_embedding",),
      (network[rows], d),
    )
    for name, rows in tables.items()
  ]
  weights += norm("embeddings.LayerNorm", ("norm",), d)
  for i in range(network["depth"]):
    there, here = f"encoder.layer.{i}", ("stack", f"block_{i}")
    attention = (*here, "self_attention")
    looks, speaks = f"{there}.attention.self", f"{there}.attention.output"
    weights += [
      *affine(f"{looks}.qkv", (*attention, "qkv"), (d, 3, h, d // h)),
      *affine(f"{speaks}.dense", (*attention, "out"), (h, d // h, d), 2),
      *norm(f"{speaks}.LayerNorm", (*here, "norm_self"), d),
      *affine(f"{there}.intermediate.dense", (*here, "mlp", "up"), (d, hidden)),
      *affine(f"{there}.output.dense", (*here, "mlp", "down"), (hidden, d)),
      *norm(f"{there}.output.LayerNorm", (*here, "norm_mlp"), d),
    ]
  return weights
