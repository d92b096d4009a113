"""Models of images in published layouts: what a config calls them, there and back."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm import pretrained
from mdm.api import weights
from mdm.api.model import Model
from mdm.interop import mae, safetensors
from mdm.methods.base import Method
from mdm.methods.image.base import ImageMethod
from mdm.methods.image.classify import Classify
from mdm.methods.image.mae import Mae
from mdm.nn.patch_decoders import MaskedDecoder
from mdm.nn.vit import Vit
from mdm.training import config

ENCODER = ("patch", "width", "depth", "heads", "mlp_ratio", "positions", "has_norm",
           "scan")  # fmt: skip
DECODER = ("width", "depth", "heads", "mlp_ratio", "scan")
Config = Any  # an ml_collections.ConfigDict
Params = Any


def read_mae(
  source: Path, overrides: Sequence[str], known: Mapping[str, Any]
) -> tuple[Config, Params]:
  """The whole config that a file stands for, and its parameters."""
  found, params = mae.load_checkpoint(source, None, **known)
  cfg = config.base()
  cfg.method = found["method"] or {"name": "image.base"}
  cfg.model = found["model"]
  cfg.data = {"name": "images", **found["data"]}
  for override in overrides:
    config.apply_override(cfg, override)
  if overrides:  # they may change how parameters lie
    _, params = mae.load_checkpoint(source, cfg.to_dict())
  return cfg, params


def write_mae(model: Model, params: Params, folder: Path) -> None:
  """Writes `model.safetensors`."""
  arrays = mae.export_weights(params, image_settings(model))
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / pretrained.WEIGHTS
  safetensors.save_variables(arrays, path, {"format": "pt"})


def image_settings(model: Model) -> dict[str, Any]:
  """What the layout mae must know of a model.

  Raises:
    ValueError: it has no name for a part of the model.
  """
  method: Method = model.method
  encoder, decoder = (getattr(method, k, None) for k in ("encoder", "decoder"))
  is_known = isinstance(method, Mae | Classify) or type(method) is ImageMethod
  if not is_known or not isinstance(encoder, Vit) or not encoder.has_cls:
    raise ValueError(
      f"{type(method).__name__} with {type(encoder).__name__} has no place in the "
      "layout mae, which holds a vision transformer with a class token, alone, with "
      "MAE's decoder or a classifier's head; leave out --layout."
    )
  settings: dict[str, Any] = {
    "method": {},
    "model": {"encoder": pick(encoder, ENCODER)},
  }
  if decoder is not None:
    if type(decoder) is not MaskedDecoder:
      raise ValueError(
        f"{type(decoder).__name__} has no place in the layout mae, whose decoder is "
        "patch_decoders.MaskedDecoder; leave out --layout."
      )
    settings["model"]["decoder"] = pick(decoder, DECODER)
  if isinstance(method, Classify):
    if method.norm == "batch":
      raise ValueError(
        "method.norm = 'batch' has no place in the layout mae; leave out --layout."
      )
    settings["method"] = {"num_classes": method.num_classes, "norm": method.norm}
  rows, columns, channels = weights.image_shape(model.cfg)
  return settings | {"data": {"image_size": (rows, columns), "channels": channels}}


def pick(module: Any, names: Iterable[str]) -> dict[str, Any]:
  """Some settings of a network."""
  return {name: getattr(module, name) for name in names}
