"""Weights in a published layout: imported as exported weights are, exported back.

"mae" is a file of facebookresearch/mae, safetensors or PyTorch's own: an encoder, an
encoder with its decoder, or a fine-tuned classifier. The others are folders with the
`config.json` and `model.safetensors` of a model of that `model_type`: "doge" language
models, "bert" encoders, also with the files of sentence-transformers, "vit" encoders
and classifiers of images, "vit_mae" masked autoencoders. What a layout has
no name for is refused.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections

import mdm
from mdm import pretrained
from mdm.api import weights
from mdm.api.image_layouts import (
  PREPARED,
  pick,
  read_mae,
  read_names,
  read_vit,
  whole_config,
  write_mae,
  write_vit,
)
from mdm.api.model import Model, load
from mdm.evaluation import tokenizers
from mdm.interop import bert, doge, doge_config, safetensors
from mdm.interop.card import Card
from mdm.masks.choices import check_choice
from mdm.methods.text.simcse import SimCSE
from mdm.nn.bert import Bert
from mdm.training import build, config

BERT = ("vocab_size", "width", "depth", "heads", "mlp_ratio", "length", "types",
        "dropout", "activation", "epsilon", "scan")  # fmt: skip
MODEL_TYPES = {  # of config.json, and its layout
  "doge": "doge",
  "bert": "bert",
  "vit": "vit",
  "vit_mae": "vit_mae",
}
Config = Any  # an ml_collections.ConfigDict
Params = Any
LIMITS = {
  "image.mae": "Weights do not tell whether targets were normalised: "
  "method.norm_pixels is taken as {norm_pixels}; import with --set "
  "method.norm_pixels=False (or True) if they were trained otherwise.",
  "image.base": "An encoder alone: it gives features (mdm eval) and starts other "
  "methods (init.run), and fills nothing in.",
  "image.classify": "It knows the classes of its training alone: by number, where "
  "classes.json does not name them.",
  "text.causal_lm": "It writes on from a text, and was not taught to answer.",
  "text.simcse": "Texts are cut to {length} tokens before they are encoded.",
}


class Layout(NamedTuple):
  """A published form of weights.

  Attributes:
    read: from a source, overrides and what is known besides to a whole config and the
      parameters that it names.
    write: a model's parameters, in some dtype, into a folder, which is made if need be;
      nothing is made for a model that is refused.
    takes_heads: whether its weights leave open how many heads there are.
    files: texts to put beside the imported weights, by name.
    limits: what a card says of this layout, in place of what it says of the method.
  """

  read: Callable[[Path, Sequence[str], Mapping[str, Any]], tuple[Config, Params]]
  write: Callable[[Model, Params, Path], None]
  takes_heads: bool = False
  files: Callable[[Path], Mapping[str, str]] = lambda source: {}
  limits: tuple[str, ...] = ()


def import_weights(
  source: str | Path,
  folder: str | Path,
  *,
  layout: str | None = None,
  overrides: Iterable[str] = (),
  heads: int | None = None,
  decoder_heads: int | None = None,
  force: bool = False,
) -> dict[str, Any]:
  """Writes published weights as exported ones, for `load` and a config's `init.run`.

  Args:
    source: a safetensors or .pth file (mae), or a checkpoint's folder (the others).
    folder: where to write; made if need be.
    layout: one of `LAYOUTS`; None for what `source` is.
    overrides: "section.key=value" each, as model.encoder.scan=True.
    heads: of an encoder of mae, where its width is not a published one.
    decoder_heads: likewise.
    force: whether files that are there are replaced.

  Returns:
    The folder, the layout, the method and the number of parameters.

  Raises:
    ValueError: no such weights, weights of another layout, damaged or incomplete ones,
      an unknown setting, or a folder that holds something while `force` is False.
  """
  source, folder = Path(source).expanduser(), Path(folder)
  layout = find_layout(source) if layout is None else layout
  check_choice("layout", layout, LAYOUTS)
  weights.check_target(folder, force)
  known = {"heads": heads, "decoder_heads": decoder_heads}
  if not LAYOUTS[layout].takes_heads and known != dict.fromkeys(known):
    raise ValueError(
      f"config.json of the layout {layout} tells its heads; leave out --heads."
    )
  cfg, params = LAYOUTS[layout].read(source, list(overrides), known)
  files = LAYOUTS[layout].files(source)
  method = build.build_method(cfg.lock())
  variables = {"params": params}
  wanted = weights.variable_shapes(cfg, method)
  safetensors.check_arrays(safetensors.flatten(variables), wanted, source)
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  folder.mkdir(parents=True, exist_ok=True)
  header = {"format": "mdm", "version": mdm.__version__, "step": "0"}
  safetensors.save_variables(variables, folder / pretrained.WEIGHTS, header)
  (folder / "config.json").write_text(config.to_json(cfg))
  if source.is_dir() and (source / tokenizers.FILE).is_file():
    shutil.copyfile(source / tokenizers.FILE, folder / tokenizers.FILE)
  for name, text in files.items():
    (folder / name).write_text(text, encoding="utf-8")
  card = _make_card(folder.resolve().name, source.name, layout, cfg, count)
  (folder / weights.CARD).write_text(card.to_markdown())
  name = str(cfg.method.name)
  return {
    "folder": str(folder), "layout": layout, "method": name, "parameters": count
  }  # fmt: skip


def export_layout(
  run: str | Path,
  folder: str | Path,
  layout: str,
  *,
  dtype: str = "float32",
  step: int | None = None,
  force: bool = False,
) -> dict[str, Any]:
  """Writes a run's parameters, or exported ones, in a published layout.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    folder: where `model.safetensors` and, but for mae, `config.json` go.
    layout: one of `LAYOUTS`.
    dtype: of the parameters.
    step: which checkpoint; None for the newest.
    force: whether files that are there are replaced.

  Raises:
    ValueError: no such run, a model that the layout has no names for, or a folder that
      holds something while `force` is False.
  """
  check_choice("layout", layout, LAYOUTS)
  folder = Path(folder)
  weights.check_target(folder, force)
  model = load(run, step=step)
  params = jax.device_get(safetensors.cast_floats(model.variables["params"], dtype))
  LAYOUTS[layout].write(model, params, folder)
  kept = None if model.folder is None else model.folder / tokenizers.FILE
  if kept is not None and kept.is_file():
    shutil.copyfile(kept, folder / tokenizers.FILE)
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  return {
    "folder": str(folder),
    "layout": layout,
    "step": model.step,
    "parameters": count,
    "bytes": (folder / pretrained.WEIGHTS).stat().st_size,
  }


def find_layout(source: Path) -> str:
  """The layout of a file or folder.

  Raises:
    ValueError: a folder whose `config.json` is missing, damaged or of another model.
  """
  if not source.is_dir():
    return "mae"
  path = source / "config.json"
  try:
    kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
  except FileNotFoundError:
    raise ValueError(f"{path} does not exist; name a checkpoint's folder.") from None
  except (ValueError, AttributeError):
    raise ValueError(f"{path} is no JSON; fetch the checkpoint again.") from None
  if kind not in MODEL_TYPES:
    raise ValueError(
      f"{path} is of model_type {kind!r}, which is not known here; known: "
      f"{', '.join(MODEL_TYPES)}."
    )
  return MODEL_TYPES[kind]


def _read_doge(
  source: Path, overrides: Sequence[str], known: Mapping[str, Any]
) -> tuple[Config, Params]:
  """The whole config that a checkpoint stands for, and its parameters."""
  del known
  network, params = doge.load_checkpoint(source)
  cfg = config.base()
  cfg.method = {"name": "text.causal_lm"}
  cfg.model = {"network": network}
  cfg.data = {"name": "text", "tokenizer": tokenizers.FILE, "length": 2048, "eos": True}
  for override in overrides:
    config.apply_override(cfg, override)
  if overrides:
    arrays, _ = safetensors.read_arrays(source / doge.WEIGHTS)
    params = doge.import_weights(arrays, cfg.model.network.to_dict(), source)
  return cfg, {"network": params}


def _write_doge(model: Model, params: Params, folder: Path) -> None:
  """Writes `model.safetensors` and `config.json`."""
  network = _doge_network(model)
  length = int(model.cfg.data.get("length", 2048))
  folder.mkdir(parents=True, exist_ok=True)
  doge.save_checkpoint(params["network"], network, folder, length)


def _read_bert(
  source: Path, overrides: Sequence[str], known: Mapping[str, Any]
) -> tuple[Config, Params]:
  """The whole config that a checkpoint stands for, and its parameters."""
  del known
  found, params = bert.load_checkpoint(source)
  cfg = whole_config(found, overrides)
  if overrides:
    arrays, _ = safetensors.read_arrays(source / bert.WEIGHTS)
    params = bert.import_weights(arrays, cfg.model.network.to_dict(), source)
  return cfg, {"network": params}


def _write_bert(model: Model, params: Params, folder: Path) -> None:
  """Writes the files of transformers and of sentence-transformers.

  Raises:
    ValueError: the model is no BERT that encodes sentences.
  """
  network = getattr(model.method, "network", None)
  if not isinstance(model.method, SimCSE) or not isinstance(network, Bert):
    raise ValueError(
      f"{type(model.method).__name__} with {type(network).__name__} has no place in "
      "the layout bert, which holds text.simcse with bert.Bert; leave out --layout."
    )
  settings = {
    "method": pick(model.method, ("pool", "normalises")),
    "model": {"network": pick(network, BERT)},
    "data": {"length": int(model.cfg.data.get("length", network.length))},
  }
  folder.mkdir(parents=True, exist_ok=True)
  bert.save_checkpoint(params["network"], settings, folder)


def _doge_network(model: Model) -> dict[str, Any]:
  """The network of a model as the layout doge needs it.

  Raises:
    ValueError: it is no Doge.
  """
  given = model.cfg.model.to_dict()
  given = given if "name" in given else given.get("network", {})
  mixer = given.get("mixer", {})
  if given.get("name") != "decoder.Decoder" or mixer.get("name") != doge_config.MIXER:
    raise ValueError(
      f"model.network = {given.get('name')} with {mixer.get('name')} has no place in "
      f"the layout doge, which holds decoder.Decoder with {doge_config.MIXER}; leave "
      "out --layout."
    )
  network = getattr(model.method, "network")  # noqa: B009  of all that have such a model
  return pick(network, ("width", "depth", "mlp_ratio", "scan")) | given


def _make_card(
  name: str, source: str, layout: str, cfg: ml_collections.ConfigDict, count: int
) -> Card:
  """The card of imported weights."""
  method = str(cfg.method.name)
  usage = {
    "image.mae": f"mdm plot {name} photo.jpg --out filled.png",
    "image.classify": f"mdm predict {name} photo.jpg",
    "text.causal_lm": f"mdm sample {name} --prompt TEXT",
    "text.simcse": f"mdm encode {name} FILE --out vectors.npy",
  }.get(method, f"mdm eval {name} --set data.folder=IMAGES --set eval=EVALUATIONS")
  told = {
    "norm_pixels": cfg.method.get("norm_pixels", True),
    "length": cfg.data.get("length"),
    "mean": list(cfg.method.get("mean", ())),
    "deviation": list(cfg.method.get("deviation", ())),
  }
  limits = LAYOUTS[layout].limits or (LIMITS[method],)
  return Card(
    name=name,
    summary=f"`{method}` of mdm {mdm.__version__}, imported, not trained, by it.",
    usage=(usage, f"mdm export {name} DIR --layout {layout}  # as it came"),
    facts={
      "weights": f"{count:,} parameters in float32",
      "from": f"{source}, layout {layout}",
    },
    metrics={},
    limits=[limit.format(**told) for limit in limits],
  )


def _vit(kind: str) -> Layout:
  """The layout of a model_type of vision transformers."""
  write = functools.partial(write_vit, kind=kind)
  return Layout(read_vit, write, files=read_names, limits=PREPARED)


LAYOUTS = {
  "mae": Layout(read_mae, write_mae, takes_heads=True),
  "doge": Layout(_read_doge, _write_doge),
  "bert": Layout(_read_bert, _write_bert),
  "vit": _vit("vit"),
  "vit_mae": _vit("vit_mae"),
}
