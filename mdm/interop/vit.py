"""Published ViT and ViTMAE checkpoints: their weights as ours, and ours as theirs.

Theirs is a folder with `config.json`, `model.safetensors` (or `pytorch_model.bin`, read
without PyTorch) and, for what prepares images, `preprocessor_config.json`. Ours are
`methods.image.mae.Mae`, its encoder alone, or `methods.image.classify.Classify` on a
class token. The weights are those of facebookresearch/mae under other names, queries,
keys and values apart. What is read is complete, or an error that lists every weight
that is not; what is written and read again is the same, bit for bit.

Source: transformers 5.23, `models/vit` and `models/vit_mae`: names and shapes.
Differences:
  - a pooler (`pooler.*` of ViTModel) is not read: features are tokens here.
  - positions are as in `interop.mae`: fixed ones (ViTMAE) are compared with the table
    and written again, the class token's learned one (ViT) is added to the token.
  - transformers 5 writes a decoder's layers as `decoder.decoder_encoder.layer`, reads
    those names and the published `decoder.decoder_layers`; so are both read here, and
    the published ones written.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.interop import layout, mae, safetensors, torch_file
from mdm.interop.layout import Arrays, Params
from mdm.interop.vit_config import CONFIG, FILES, read_config, write_config

Config = Mapping[str, Any]
WEIGHTS, OLDER = "model.safetensors", "pytorch_model.bin"
PREFIX, UNREAD = "vit.", ("pooler.",)
QKV = ("qkv", ("query", "key", "value"))
NAMES = (  # in the layout mae, and there
  (r"^cls_token$", "embeddings.cls_token"),
  (r"^pos_embed$", "embeddings.position_embeddings"),
  (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
  (r"^blocks\.", "encoder.layer."),
  (r"^norm\.", "layernorm."),
  (r"^head\.", "classifier."),
  (r"^decoder_blocks\.", "decoder.decoder_layers."),
  (r"^(mask_token|decoder_\w+)", r"decoder.\1"),
  (r"\.norm1\.", ".layernorm_before."),
  (r"\.attn\.qkv\.", ".attention.attention.qkv."),
  (r"\.attn\.proj\.", ".attention.output.dense."),
  (r"\.norm2\.", ".layernorm_after."),
  (r"\.mlp\.fc1\.", ".intermediate.dense."),
  (r"\.mlp\.fc2\.", ".output.dense."),
)
OF_HEADS = ("classifier.", "decoder.")
NEWER = ("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")


def import_weights(
  arrays: Arrays, config: Config, source: str | Path = "(given)"
) -> Params:
  """Parameters of the model that a config names, float32, from published weights.

  Args:
    arrays: by their published names, with or without "vit." before the encoder's.
    config: from `read_config`; `scan` of a network may be set, for stacked layers.
    source: the file, for errors.

  Raises:
    ValueError: listing all weights that are missing, unexpected or misshapen; or fixed
      positions that are others.
  """
  shapes = mae.stored_shapes(config)
  names = {name: _published_name(name) for name in shapes}
  fused = [layout.plain(names[name], (), x.shape) for name, x in shapes.items()]
  bare = {_bare_name(name): np.asarray(x) for name, x in arrays.items()}
  bare = {name: x for name, x in bare.items() if not name.startswith(UNREAD)}
  wanted = layout.stored_shapes(layout.apart(fused, *QKV))
  safetensors.check_arrays(bare, wanted, source)
  bare = layout.fuse(bare, fused, *QKV)
  theirs = {name: bare[published] for name, published in names.items()}
  return mae.import_weights(theirs, config, source)


def export_weights(params: Params, config: Config) -> dict[str, np.ndarray]:
  """Parameters of the model that a config names under their published names.

  Raises:
    ValueError: listing all parameters that are missing, unexpected or misshapen.
  """
  arrays = mae.export_weights(params, config)
  named = {_published_name(name): array for name, array in arrays.items()}
  named = layout.split(named, *QKV)
  if not any(name.startswith(OF_HEADS) for name in named):
    return named
  return {
    name if name.startswith(OF_HEADS) else PREFIX + name: array
    for name, array in named.items()
  }


def load_checkpoint(
  folder: str | Path, config: Config | None = None
) -> tuple[dict[str, Any], Params]:
  """Sections `method`, `model` and `data` that a folder stands for, and parameters.

  Args:
    folder: of the checkpoint.
    config: what the weights must be of; None for what the folder's files say.

  Raises:
    ValueError: a file is missing or damaged, or the model is another.
  """
  folder = Path(folder)
  if config is None:
    config = read_config(read_files(folder))
  path = folder / WEIGHTS
  if not path.is_file() and (folder / OLDER).is_file():
    path = folder / OLDER
    return dict(config), import_weights(torch_file.read_arrays(path), config, path)
  arrays, _ = safetensors.read_arrays(path)
  return dict(config), import_weights(arrays, config, path)


def save_checkpoint(
  params: Params,
  config: Config,
  folder: str | Path,
  kind: str,
  *,
  classes: Sequence[str] = (),
) -> None:
  """Writes a folder that transformers' `from_pretrained` reads; see `write_config`."""
  folder = Path(folder)
  files = write_config(config, kind, classes)
  arrays = export_weights(params, config)
  folder.mkdir(parents=True, exist_ok=True)
  safetensors.save_variables(arrays, folder / WEIGHTS, {"format": "pt"})
  for name, content in files.items():
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / name).write_text(text + "\n", encoding="utf-8")


def read_files(folder: Path) -> dict[str, Any]:
  """The content of each of `FILES`; None for a processor that is not there.

  Raises:
    ValueError: there is no config, or a file is no JSON object.
  """
  if not (folder / CONFIG).is_file():
    raise ValueError(f"{folder / CONFIG} does not exist; name a checkpoint's folder.")
  files = {name: layout.read_json(folder / name) for name in FILES}
  for name, content in files.items():
    if not isinstance(content, dict | None):
      raise ValueError(
        f"{folder / name} is no JSON object; fetch the checkpoint again."
      )
  return files


def _published_name(name: str) -> str:
  """A weight's name there, without prefix, from that in the layout mae."""
  for pattern, there in NAMES:
    name = re.sub(pattern, there, name)
  return name


def _bare_name(name: str) -> str:
  """A name there without prefix, as it was published."""
  return name.removeprefix(PREFIX).replace(*NEWER)
