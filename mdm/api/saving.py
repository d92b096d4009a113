"""A model in a folder of its own: weights, a config without local paths, and a card.

What is written is what `load` reads on any machine: `model.safetensors`, what prepares
inputs (`config.json` and `PROCESSOR`), and a card, `README.md`.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections

import mdm
from mdm import pretrained
from mdm.api.cards import make_card, read_results
from mdm.api.model import Model
from mdm.api.pictures import CLASSES
from mdm.api.weights import (
  CARD,
  CHARSET,
  check_target,
  image_shape,
  is_exported,
)
from mdm.data.datasets import read_settings
from mdm.evaluation import tokenizers
from mdm.interop import safetensors
from mdm.interop.card import replace_fact
from mdm.masks.choices import check_choice
from mdm.training import config
from mdm.training.checkpoint import open_checkpoints

DTYPES = ("float32", "bfloat16")
LOCAL_KEYS = ("folder", "labels")
RECIPE_KEYS = ("fonts_dir", "photos_dir")
PROCESSOR = (tokenizers.FILE, CLASSES)


def save_pretrained(
  model: Model,
  folder: str | Path,
  *,
  dtype: str | None = None,
  metrics: Sequence[str | Path] = (),
  notes: Sequence[str] = (),
  force: bool = False,
) -> dict[str, Any]:
  """Writes a model for `load`, here or elsewhere.

  The card of a run's model is made from the run; that of exported weights is kept, but
  for what it says of their number and kind.

  Args:
    model: of a run, or of exported weights.
    folder: where to write; made if need be.
    dtype: of the parameters, "float32" or "bfloat16"; running statistics stay float32.
      None leaves those of exported weights as they are, and a run's float32.
    metrics: files that `mdm bench reader` or `hearing` wrote with `--json`; of a run.
    notes: sentences on the training, for the card of a run.
    force: whether files that are there are replaced.

  Returns:
    The folder, the step, the number of parameters and the size in bytes.

  Raises:
    ValueError: an unknown dtype, a metrics file that is none, or a folder that holds
      something while `force` is False, or is the model's own.
  """
  if dtype is not None:
    check_choice("dtype", dtype, DTYPES)
  folder, results = Path(folder), [read_results(path) for path in metrics]
  _check_target(model, folder, force, bool(results or notes))
  variables = jax.device_get(dict(model.variables))
  kind = _dtype(model) if dtype is None else dtype
  variables["params"] = safetensors.cast_floats(variables["params"], kind)
  classes = model.classes if model.names else ()

  folder.mkdir(parents=True, exist_ok=True)
  path = folder / pretrained.WEIGHTS
  header = {"format": "mdm", "version": mdm.__version__, "step": str(model.step)}
  safetensors.save_variables(variables, path, header)
  cfg = portable_config(_with_shape(model.cfg), folder)
  (folder / "config.json").write_text(config.to_json(cfg))
  for name in PROCESSOR:
    if model.folder is not None and (model.folder / name).is_file():
      shutil.copyfile(model.folder / name, folder / name)
  if classes:
    (folder / CLASSES).write_text(json.dumps(classes, ensure_ascii=False, indent=0))
  count, size = _count(variables["params"]), path.stat().st_size
  told = f"{count:,} parameters in {kind}, {size / 1e6:.1f} MB"
  (folder / CARD).write_text(_card(model, folder, told, results, notes))
  return {
    "folder": str(folder), "step": model.step, "parameters": count, "bytes": size
  }  # fmt: skip


def portable_config(
  cfg: ml_collections.ConfigDict, folder: Path
) -> ml_collections.ConfigDict:
  """The config without this machine's paths; a dictionary file is copied to `folder`.

  What is built or found elsewhere on another machine becomes null: the keys
  `*_dir`, `folder` and `labels`, and any absolute path. Fonts and photographs keep a
  relative path: they are part of the recipe.
  """
  given = cfg.to_dict()
  charset = given["data"].get("charset")
  if charset and Path(charset).expanduser().is_file():
    shutil.copyfile(Path(charset).expanduser(), folder / CHARSET)
    given["data"]["charset"] = CHARSET

  def strip(key: str, value: Any) -> Any:
    """A value without paths, sections included."""
    if isinstance(value, dict):
      return {k: strip(k, v) for k, v in value.items()}
    is_path = isinstance(value, str) and (
      os.path.isabs(value) or value[:1] in ("~", ".")
    )
    is_local = key in LOCAL_KEYS or (key.endswith("_dir") and key not in RECIPE_KEYS)
    return None if is_path or is_local else value

  return ml_collections.ConfigDict(strip("", given), type_safe=False)


def _check_target(model: Model, folder: Path, force: bool, has_notes: bool) -> None:
  """Raises ValueError for what cannot be saved, before anything is computed."""
  is_of_run = model.folder is not None and not is_exported(model.folder)
  if has_notes and not is_of_run:
    raise ValueError(
      "exported weights keep the card that they have; give metrics and notes where "
      "their run is exported."
    )
  if model.folder is not None and folder.resolve() == model.folder.resolve():
    raise ValueError(f"{folder} is where the model is from; save it to another folder.")
  check_target(folder, force)


def _card(
  model: Model,
  folder: Path,
  weights: str,
  results: Sequence[Mapping[str, Any]],
  notes: Sequence[str],
) -> str:
  """The model's card as Markdown."""
  name = folder.resolve().name
  if model.folder is None or is_exported(model.folder):
    return _kept_card(model, name, weights)
  checkpoints = open_checkpoints(model.folder, reads_only=True)
  try:
    record = checkpoints.record(model.step)
  finally:
    checkpoints.close()
  return make_card(name, model.folder, record, weights, results, notes).to_markdown()


def _kept_card(model: Model, name: str, weights: str) -> str:
  """The card beside exported weights, with its name and what it says of them new."""
  path = None if model.folder is None else model.folder / CARD
  if path is None or not path.is_file():
    method = model.cfg.method.name
    return f"# {name}\n\n`{method}` of mdm {mdm.__version__}; {weights}.\n"
  lines = path.read_text(encoding="utf-8").split("\n")
  lines[0] = f"# {name}"
  return replace_fact("\n".join(lines), "weights", weights)


def _with_shape(cfg: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The config with the shape of images in it, so that weights need no data set."""
  settings = read_settings(cfg.data.to_dict())
  given = (getattr(settings, "image_size", ()), getattr(settings, "channels", 1))
  if None not in given:
    return cfg
  cfg = cfg.copy_and_resolve_references()
  cfg.unlock()
  rows, columns, channels = image_shape(cfg)
  cfg.data.image_size, cfg.data.channels = (rows, columns), channels
  return cfg.lock()


def _dtype(model: Model) -> str:
  """That of the weights the model is from."""
  path = None if model.folder is None else model.folder / pretrained.WEIGHTS
  is_kept = path is not None and path.is_file() and safetensors.is_half(path)
  return "bfloat16" if is_kept else "float32"


def _count(params: Any) -> int:
  """How many parameters there are."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
