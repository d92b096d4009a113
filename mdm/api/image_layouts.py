"""Models of images in published layouts: what a config calls them, there and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mdm import pretrained
from mdm.api import weights
from mdm.api.model import Model
from mdm.api.pictures import CLASSES
from mdm.interop import mae, safetensors, vit, vit_config
from mdm.methods.base import Method
from mdm.methods.image.base import ImageMethod
from mdm.methods.image.classify import Classify
from mdm.methods.image.mae import Mae
from mdm.nn.patch_decoders import MaskedDecoder
from mdm.nn.vit import Vit
from mdm.training import config

ENCODER = ("patch", "width", "depth", "heads", "mlp_ratio", "positions", "has_norm",
           "scan")  # fmt: skip
PREPARED = (  # of the card of a ViT
  "Images are prepared by method.mean = {mean}, method.deviation = {deviation} and "
  "data.crop, as preprocessor_config.json says (where there is none, as transformers "
  "does by default), but are scaled by cubic weights whatever its resample says, and "
  "a middle is cut out before it is scaled.",
  "A pooler, if there was one, is not kept: features are of tokens.",
)
DECODER = ("width", "depth", "heads", "mlp_ratio", "scan")
Config = Any  # an ml_collections.ConfigDict
Params = Any


def read_mae(
  source: Path, overrides: Sequence[str], known: Mapping[str, Any]
) -> tuple[Config, Params]:
  """The whole config that a file stands for, and its parameters."""
  found, params = mae.load_checkpoint(source, None, **known)
  found["method"] = found["method"] or {"name": "image.base"}
  found["data"] = {"name": "images", **found["data"]}
  cfg = whole_config(found, overrides)
  if overrides:  # they may change how parameters lie
    _, params = mae.load_checkpoint(source, cfg.to_dict())
  return cfg, params


def write_mae(model: Model, params: Params, folder: Path) -> None:
  """Writes `model.safetensors`."""
  arrays = mae.export_weights(params, image_settings(model))
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / pretrained.WEIGHTS
  safetensors.save_variables(arrays, path, {"format": "pt"})


def read_vit(
  source: Path, overrides: Sequence[str], known: Mapping[str, Any]
) -> tuple[Config, Params]:
  """The whole config that a folder of ViT or ViTMAE stands for, and its parameters."""
  del known
  found, params = vit.load_checkpoint(source)
  cfg = whole_config(found, overrides)
  if overrides:  # they may change how parameters lie
    _, params = vit.load_checkpoint(source, cfg.to_dict())
  return cfg, params


def read_names(source: Path) -> dict[str, str]:
  """`classes.json` of a published classifier whose classes have names."""
  given = vit.read_files(source)[vit_config.CONFIG]
  classes = vit_config.read_classes(given) if "id2label" in given else ()
  if not vit_config.has_names(classes):
    return {}
  return {CLASSES: json.dumps(classes, ensure_ascii=False, indent=0)}


def write_vit(model: Model, params: Params, folder: Path, kind: str) -> None:
  """Writes the files of a ViT or a ViTMAE; `kind` is the layout.

  Raises:
    ValueError: the model is none, or has what that layout has no name for.
  """
  from mdm.data import datasets

  settings, method = image_settings(model, kind), model.method
  networks = settings["model"]
  for name in networks:
    networks[name] |= pick(getattr(method, name), ("epsilon",))
  _check_vit(method, networks, kind)
  moments = ("mean", "deviation")
  settings["method"] |= pick(method, moments)
  if isinstance(method, Mae):
    settings["method"] |= pick(method, ("mask_ratio", "norm_pixels"))
  data: Any = datasets.read_settings(model.cfg.data.to_dict())
  settings["data"] |= pick(data, ("crop", "crop_share"))
  classes = model.classes if model.names else ()
  vit.save_checkpoint(params, settings, folder, kind, classes=classes)


def _check_vit(method: Method, networks: Mapping[str, Any], kind: str) -> None:
  """Raises ValueError for what the layout `kind` has no name for."""
  encoder, decoder = networks["encoder"], networks.get("decoder", networks["encoder"])
  has_other = isinstance(method, Mae if kind == "vit" else Classify)
  refused: dict[str, Any] = {}
  if has_other:
    refused["method"] = type(method).__name__
  if (encoder["positions"] == "sincos") != (kind == "vit_mae"):
    refused["model.encoder.positions"] = encoder["positions"]
  if not encoder["has_norm"]:
    refused["model.encoder.has_norm"] = False
  if decoder["epsilon"] != encoder["epsilon"]:
    refused["model.decoder.epsilon"] = decoder["epsilon"]
  if isinstance(method, Classify) and (method.pool, method.norm) != ("cls", None):
    refused |= {"method.pool": method.pool, "method.norm": method.norm}
  for name, value in refused.items():
    raise ValueError(
      f"{name} = {value!r} has no place in the layout {kind}; leave out --layout."
    )


def image_settings(model: Model, layout: str = "mae") -> dict[str, Any]:
  """What a layout of vision transformers must know of a model.

  Raises:
    ValueError: it has no name for a part of the model.
  """
  method: Method = model.method
  encoder, decoder = (getattr(method, k, None) for k in ("encoder", "decoder"))
  is_known = isinstance(method, Mae | Classify) or type(method) is ImageMethod
  if not is_known or not isinstance(encoder, Vit) or not encoder.has_cls:
    raise ValueError(
      f"{type(method).__name__} with {type(encoder).__name__} has no place in the "
      f"layout {layout}, which holds a vision transformer with a class token, alone, "
      "with MAE's decoder or a classifier's head; leave out --layout."
    )
  settings: dict[str, Any] = {
    "method": {},
    "model": {"encoder": pick(encoder, ENCODER)},
  }
  if decoder is not None:
    if type(decoder) is not MaskedDecoder:
      raise ValueError(
        f"{type(decoder).__name__} has no place in the layout {layout}, whose decoder "
        "is patch_decoders.MaskedDecoder; leave out --layout."
      )
    settings["model"]["decoder"] = pick(decoder, DECODER)
  if isinstance(method, Classify):
    if method.norm == "batch":
      raise ValueError(
        f"method.norm = 'batch' has no place in the layout {layout}; leave out "
        "--layout."
      )
    settings["method"] = {"num_classes": method.num_classes, "norm": method.norm}
  rows, columns, channels = weights.image_shape(model.cfg)
  return settings | {"data": {"image_size": (rows, columns), "channels": channels}}


def whole_config(sections: Mapping[str, Any], overrides: Sequence[str]) -> Config:
  """A config with some sections as given, then changed by overrides."""
  cfg = config.base()
  for name, section in sections.items():
    cfg[name] = section
  for override in overrides:
    config.apply_override(cfg, override)
  return cfg


def pick(module: Any, names: Iterable[str]) -> dict[str, Any]:
  """Some settings of a network."""
  return {name: getattr(module, name) for name in names}
