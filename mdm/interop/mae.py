"""Published MAE weights as ours, and ours as theirs.

A file holds an encoder, an encoder and a decoder, or a fine-tuned classifier. Ours are
the parameters of `methods.image.mae.Mae`, of its encoder alone, or of
`methods.image.classify.Classify`. What is read is complete, or an error that lists
every weight that is not; what is written and read again is the same, bit for bit.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2022, and its
code, `models_mae.py` and `models_vit.py`: names and shapes.
Differences:
  - fixed positions are no weights here: they are compared when read, and written again.
  - learned positions (of a fine-tuned classifier) have no row for the class token: the
    file's is added to the token, the sum that the network sees, and written as zeros.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdm.interop import layout, safetensors, torch_file
from mdm.interop.layout import Arrays, Params, Weight, affine, norm, plain
from mdm.interop.mae_config import PLACES, grid_table, is_close, read_config

Config = Mapping[str, Any]
OF_TORCH = (".pth", ".pt", ".bin")


def import_weights(
  arrays: Arrays, config: Config, source: str | Path = "(given)"
) -> Params:
  """Parameters of the model that a config names, float32, from published weights.

  Args:
    arrays: by their published names.
    config: from `read_config`; `scan` of a network may be set, for stacked layers.
    source: the file, for errors.

  Raises:
    ValueError: listing all weights that are missing, unexpected or misshapen; a decoder
      is needed and there is none; or fixed positions that are others.
  """
  has_decoder = any(name.startswith("decoder_") for name in arrays)
  if "decoder" in config["model"] and not has_decoder:
    raise ValueError(
      f"weights file {source} holds an encoder only, and a decoder of random weights "
      "would fill images with noise; take a file with a decoder, or leave "
      "config.model.decoder out."
    )
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  safetensors.check_arrays(arrays, stored_shapes(config), source)
  weights, tables = published_weights(config), _tables(config)
  for name, table in tables.items():
    if not is_close(arrays[name], table):
      raise ValueError(
        f"{name} of weights file {source} is not the fixed table of sines that its "
        "shape stands for; such weights need an encoder with positions='learned'."
      )
  if _learns_places(config):
    first, rest = np.split(arrays[PLACES], [1], axis=1)
    arrays |= {PLACES: rest, "cls_token": arrays["cls_token"] + first}
  return _restack(layout.read_params(arrays, weights), config, layout.stack_layers)


def export_weights(params: Params, config: Config) -> dict[str, np.ndarray]:
  """Parameters of the model that a config names under their published names.

  Raises:
    ValueError: listing all parameters that are missing, unexpected or misshapen.
  """
  params = _restack(params, config, layout.unstack_layers)
  arrays = layout.write_arrays(params, published_weights(config))
  if _learns_places(config):
    arrays[PLACES] = np.pad(arrays[PLACES], ((0, 0), (1, 0), (0, 0)))
  return arrays | _tables(config)


def load_checkpoint(
  path: str | Path, config: Config | None = None, **known: Any
) -> tuple[dict[str, Any], Params]:
  """The config that a file of weights stands for, and its parameters.

  Args:
    path: a safetensors file, or one of PyTorch's own (.pth).
    config: what the file must hold; None for what its shapes say.
    known: what shapes do not say, see `read_config`.

  Raises:
    ValueError: a damaged file, or other weights.
  """
  path = Path(path)
  if path.suffix in OF_TORCH:
    arrays = torch_file.read_arrays(path)
  else:
    arrays, _ = safetensors.read_arrays(path)
  found = read_config(arrays, **known) if config is None else dict(config)
  return found, import_weights(arrays, found, path)


def save_checkpoint(params: Params, config: Config, path: str | Path) -> None:
  """Writes a safetensors file, which the original loads as its `model`."""
  arrays = export_weights(params, config)
  safetensors.save_variables(arrays, path, {"format": "pt"})


def published_weights(config: Config) -> list[Weight]:
  """Every weight that is learned, as a config names the model."""
  networks, method = config["model"], config.get("method") or {}
  weights = _encoder(networks["encoder"], config)
  if "decoder" in networks:
    weights += _decoder(networks["decoder"], config)
  if "num_classes" in method:
    width, classes = networks["encoder"]["width"], method["num_classes"]
    if method.get("norm", "layer") == "layer":
      weights += norm("fc_norm", ("norm",), width)
    weights += affine("head", ("head",), (width, classes))
  return weights


def stored_shapes(config: Config) -> dict[str, jax.ShapeDtypeStruct]:
  """Names and shapes of all that a file holds, tables of positions included."""
  wanted, networks = layout.stored_shapes(published_weights(config)), config["model"]
  n = math.prod(_grid(config)) + 1  # and the class token
  tables = {PLACES: "encoder"}
  tables |= {"decoder_pos_embed": "decoder"} if "decoder" in networks else {}
  for name, network in tables.items():
    shape = (1, n, networks[network]["width"])
    wanted[name] = jax.ShapeDtypeStruct(shape, np.float32)
  return wanted


def _encoder(spec: Config, config: Config) -> list[Weight]:
  """Weights of the encoder."""
  d, p, channels = spec["width"], spec["patch"], config["data"]["channels"]
  shape, stored = (p * p * channels, d), (d, channels, p, p)
  path = ("encoder", "patch_embed")
  name = "patch_embed.proj.weight"
  weights = [
    plain("cls_token", ("encoder", "cls_embedding"), (1, 1, d)),
    Weight(name, (*path, "kernel"), shape, stored, (2, 3, 1, 0)),
    plain("patch_embed.proj.bias", (*path, "bias"), (d,)),
  ]
  if _learns_places(config):
    n = math.prod(_grid(config))
    weights.append(plain(PLACES, ("encoder", "position_embedding"), (n, d), (1, n, d)))
  weights += _blocks("blocks", ("encoder", "stack"), spec)
  if spec.get("has_norm", True):
    weights += norm("norm", ("encoder", "stack", "norm"), d)
  return weights


def _decoder(spec: Config, config: Config) -> list[Weight]:
  """Weights of the decoder."""
  encoder, width = config["model"]["encoder"], spec["width"]
  features = encoder["patch"] ** 2 * config["data"]["channels"]
  return [
    plain("mask_token", ("decoder", "mask_embedding"), (1, 1, width)),
    *affine("decoder_embed", ("decoder", "embed"), (encoder["width"], width)),
    *_blocks("decoder_blocks", ("decoder", "stack"), spec),
    *norm("decoder_norm", ("decoder", "stack", "norm"), width),
    *affine("decoder_pred", ("decoder", "head"), (width, features)),
  ]


def _blocks(name: str, path: tuple[str, ...], spec: Config) -> list[Weight]:
  """Weights of a stack of layers."""
  d, h = spec["width"], spec["heads"]
  hidden = round(d * spec.get("mlp_ratio", 4.0))
  weights = []
  for i in range(spec["depth"]):
    there, here = f"{name}.{i}", (*path, f"block_{i}")
    attention = (*here, "self_attention")
    weights += [
      *norm(f"{there}.norm1", (*here, "norm_self"), d),
      *affine(f"{there}.attn.qkv", (*attention, "qkv"), (d, 3, h, d // h)),
      *affine(f"{there}.attn.proj", (*attention, "out"), (h, d // h, d), 2),
      *norm(f"{there}.norm2", (*here, "norm_mlp"), d),
      *affine(f"{there}.mlp.fc1", (*here, "mlp", "up"), (d, hidden)),
      *affine(f"{there}.mlp.fc2", (*here, "mlp", "down"), (hidden, d)),
    ]
  return weights


def _tables(config: Config) -> dict[str, np.ndarray]:
  """Fixed positions, which a file holds beside its weights."""
  networks, (rows, columns) = config["model"], _grid(config)
  tables = {}
  if not _learns_places(config):
    tables[PLACES] = grid_table(rows, columns, networks["encoder"]["width"])
  if "decoder" in networks:
    width = networks["decoder"]["width"]
    tables["decoder_pos_embed"] = grid_table(rows, columns, width)
  return tables


def _grid(config: Config) -> tuple[int, int]:
  """Rows and columns of patches."""
  patch = config["model"]["encoder"]["patch"]
  rows, columns = config["data"]["image_size"]
  return rows // patch, columns // patch


def _learns_places(config: Config) -> bool:
  """Whether positions are weights."""
  return config["model"]["encoder"].get("positions", "sincos").startswith("learned")


def _restack(params: Params, config: Config, turn: Any) -> Params:
  """The parameters with their layers stacked or unstacked, where networks scan."""
  params = dict(params)
  for name, spec in config["model"].items():
    if spec.get("scan") and "stack" in params.get(name, {}):
      params[name] = params[name] | {
        "stack": turn(params[name]["stack"], spec["depth"])
      }
  return params
