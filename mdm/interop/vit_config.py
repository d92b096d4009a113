"""What the files of a published ViT or ViTMAE mean here, and the reverse.

`config.json` names the networks, `preprocessor_config.json` says how an image becomes
the pixels that they see (`interop.image_processor`). Where the latter does not say it,
values are brought from [0, 1] to [-1, 1] (ViT) or normalised as ImageNet is (ViTMAE).

Source: transformers 5.23, `models/vit` and `models/vit_mae`, names and defaults.
Difference: dropout belongs to a training, not to its weights: it is not read, and
written as 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mdm.interop.image_processor import PROCESSOR, read_processor, write_processor

CONFIG = "config.json"
FILES = (CONFIG, PROCESSOR)
ENCODERS = {"vit": "ViTModel", "vit_mae": "ViTMAEModel"}  # by model_type
HEADS = {"vit": "ViTForImageClassification", "vit_mae": "ViTMAEForPreTraining"}
MOMENTS = {  # mean and deviation where they are missing
  "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
  "vit_mae": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
POSITIONS = {"vit": "learned", "vit_mae": "sincos"}
STACK = {  # ours: theirs, and what is meant where it is missing
  "width": ("hidden_size", 768),
  "depth": ("num_hidden_layers", 12),
  "heads": ("num_attention_heads", 12),
}
DECODER = {
  "width": ("decoder_hidden_size", 512),
  "depth": ("decoder_num_hidden_layers", 8),
  "heads": ("decoder_num_attention_heads", 16),
}
HIDDEN, DECODER_HIDDEN = "intermediate_size", "decoder_intermediate_size"
WIDE = {HIDDEN: 3072, DECODER_HIDDEN: 2048}  # where it is missing
ONLY = {"hidden_act": "gelu", "qkv_bias": True}  # the one value that is computed here
MOST, LAYERS = 100_000, 1_000  # of heads, widths, pixels; of layers that may be named
Config = Mapping[str, Any]


def read_config(files: Config) -> dict[str, Any]:
  """Sections `method`, `model` and `data` of a config.

  Args:
    files: the content of each of `FILES`, None for one that is not there.

  Raises:
    ValueError: the model is neither, or has a setting that is not computed here.
  """
  given = files[CONFIG] or {}
  kind, has_head = _read_kind(given)
  for name, wanted in ONLY.items():
    if given.get(name, wanted) != wanted:
      raise ValueError(
        f"{name} = {given[name]!r} is not computed here, only {wanted!r}; choose "
        "another checkpoint."
      )
  patch, columns = _pair(given, "patch_size", 16)
  size = _pair(given, "image_size", 224)
  if patch != columns or size[0] % patch or size[1] % patch:
    raise ValueError(
      f"patch_size = {given.get('patch_size', 16)} does not tile image_size = "
      f"{given.get('image_size', 224)} by squares; choose another checkpoint."
    )
  epsilon = _share(given, "layer_norm_eps", 1e-12)
  encoder = {"name": "vit.Vit", "patch": patch, "positions": POSITIONS[kind]}
  encoder |= {"has_norm": True, **_stack(given, STACK, HIDDEN), "epsilon": epsilon}
  config: dict[str, Any] = {"method": {"name": "image.base"}}
  config["model"] = {"encoder": encoder}
  if has_head and kind == "vit":
    count = len(read_classes(given))
    config["method"] = {"name": "image.classify", "num_classes": count}
    config["method"] |= {"pool": "cls", "norm": None}
  if has_head and kind == "vit_mae":
    decoder = {**_stack(given, DECODER, DECODER_HIDDEN), "epsilon": epsilon}
    config["model"]["decoder"] = {"name": "patch_decoders.MaskedDecoder", **decoder}
    config["method"] = {
      "name": "image.mae",
      "mask_ratio": _share(given, "mask_ratio", 0.75),
      "norm_pixels": given.get("norm_pix_loss", False) is True,
    }
  data = {"image_size": size, "channels": _number(given, "num_channels", 3)}
  method, data = read_processor(files[PROCESSOR], data, MOMENTS[kind])
  return config | {"method": config["method"] | method, "data": data}


def read_classes(given: Config) -> tuple[str, ...]:
  """Names of a classifier's classes, as `config.json` has them, by their number.

  Raises:
    ValueError: they are not numbered from 0 on.
  """
  count = _number(given, "num_labels", 2)
  names = given.get("id2label") or {f"{k}": f"LABEL_{k}" for k in range(count)}
  if not isinstance(names, dict) or set(names) != {f"{k}" for k in range(len(names))}:
    raise ValueError(
      f"id2label of {CONFIG} does not number its classes from 0 on; mend it."
    )
  return tuple(str(names[f"{k}"]) for k in range(len(names)))


def has_names(classes: Sequence[str]) -> bool:
  """Whether classes have names, not just numbers."""
  return any(name != f"LABEL_{k}" for k, name in enumerate(classes))


def write_config(config: Config, kind: str, classes: Sequence[str] = ()) -> dict:
  """The content of each of `FILES`; the reverse of `read_config`.

  Args:
    config: its sections `method`, `model` and `data`.
    kind: "vit" or "vit_mae".
    classes: names of a classifier's classes; () where they have none.
  """
  method, networks, data = config["method"], config["model"], config["data"]
  encoder, (rows, columns) = networks["encoder"], data["image_size"]
  has_head = "num_classes" in method or "decoder" in networks
  there: dict[str, Any] = {
    "architectures": [(HEADS if has_head else ENCODERS)[kind]],
    "model_type": kind,
    "image_size": rows if rows == columns else [rows, columns],
    "patch_size": encoder["patch"],
    "num_channels": data["channels"],
    "layer_norm_eps": encoder["epsilon"],
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    **ONLY,
    **_named(encoder, STACK, HIDDEN),
  }
  if "decoder" in networks:
    there |= _named(networks["decoder"], DECODER, DECODER_HIDDEN)
    there |= {
      "mask_ratio": method["mask_ratio"],
      "norm_pix_loss": method["norm_pixels"],
    }
  if "num_classes" in method:
    names = list(classes) or [f"LABEL_{k}" for k in range(method["num_classes"])]
    there["id2label"] = {f"{k}": name for k, name in enumerate(names)}
    there["label2id"] = {name: k for k, name in enumerate(names)}
  return {CONFIG: there, PROCESSOR: write_processor(method, data)}


def _read_kind(given: Config) -> tuple[str, bool]:
  """The model_type, and whether there is a head beside the encoder.

  Raises:
    ValueError: another type, or a head that is not known here.
  """
  kind = str(given.get("model_type"))
  if kind not in ENCODERS:
    raise ValueError(
      f"model_type = {kind!r} is no ViT; these layouts read {', '.join(ENCODERS)}."
    )
  named = given.get("architectures")
  named = named if isinstance(named, list) and named else ["nothing"]
  if named[0] not in (ENCODERS[kind], HEADS[kind]):
    raise ValueError(
      f"architectures = {named[0]!r} is not known here; of {kind} these are: "
      f"{ENCODERS[kind]}, {HEADS[kind]}."
    )
  return kind, named[0] == HEADS[kind]


def _stack(given: Config, names: Config, hidden: str) -> dict[str, Any]:
  """Settings of a stack of layers.

  Raises:
    ValueError: heads that do not share its width evenly.
  """
  found: dict[str, Any] = {k: _number(given, *name) for k, name in names.items()}
  if found["width"] % found["heads"]:
    raise ValueError(
      f"{names['heads'][0]} = {found['heads']} does not divide {names['width'][0]} = "
      f"{found['width']}; mend {CONFIG}."
    )
  wide = _number(given, hidden, WIDE[hidden])
  return found | {"mlp_ratio": wide / found["width"]}


def _named(spec: Config, names: Config, hidden: str) -> dict[str, Any]:
  """The reverse of `_stack`."""
  there = {name: spec[k] for k, (name, _) in names.items()}
  return there | {hidden: round(spec["width"] * spec["mlp_ratio"])}


def _pair(given: Config, name: str, default: int) -> tuple[int, int]:
  """Rows and columns, told as one number or two."""
  found = given.get(name, default)
  parts = found if isinstance(found, list) and len(found) == 2 else [found, found]
  rows, columns = (_number({name: part}, name, 1) for part in (parts[0], parts[-1]))
  return rows, columns


def _number(given: Config, name: str, default: int) -> int:
  """A count.

  Raises:
    ValueError: it is none.
  """
  found = given.get(name, default)
  most = LAYERS if name.endswith("hidden_layers") else MOST
  if type(found) is not int or not 1 <= found <= most:
    raise ValueError(
      f"{name} = {found!r} of {CONFIG} is no number of 1 to {most}; mend it."
    )
  return found


def _share(given: Config, name: str, default: float) -> float:
  """A number of 0 to 1.

  Raises:
    ValueError: it is none.
  """
  found = given.get(name, default)
  if type(found) not in (int, float) or not 0 <= found <= 1:
    raise ValueError(f"{name} = {found!r} of {CONFIG} lies outside [0, 1]; mend it.")
  return float(found)
