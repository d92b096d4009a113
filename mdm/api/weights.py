"""Weights apart from a run: where a name or folder leads, reading, and exporting.

A folder of weights holds `model.safetensors`, `config.json` and a card, `README.md`. It
knows no local path, so that it can be moved and shipped.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

import mdm
from mdm import pretrained
from mdm.interop import safetensors
from mdm.methods.base import Method
from mdm.methods.speech.base import SpeechMethod
from mdm.training import config
from mdm.training.state import init_variables

CHARSET = "charset.txt"
CARD = "README.md"


def find_model(run: str | Path) -> Path:
  """The folder of a run, of exported weights, or of a model that comes with mdm.

  A folder wins over a model of the same name.

  Raises:
    ValueError: there is neither; the error lists the models that come with mdm.
  """
  folder = Path(run)
  if (folder / "config.json").is_file():
    return folder
  return pretrained.find(str(run))


def is_exported(folder: Path) -> bool:
  """Whether a folder holds exported weights, not a run."""
  return (folder / pretrained.WEIGHTS).is_file()


def load_config(
  run: str | Path, overrides: Iterable[str] = ()
) -> ml_collections.ConfigDict:
  """The config of a run or model; a dictionary file that came with it is found.

  Raises:
    ValueError: there is no such model, or it is in another library's layout.
  """
  folder = find_model(run)
  if kind := published_kind(folder):
    raise ValueError(
      f"{folder} is a checkpoint in another library's layout (model_type {kind!r}); "
      f"bring it over with `mdm import {folder} DIR`, then load DIR."
    )
  cfg = config.load(folder, overrides)
  if cfg.data.get("charset") == CHARSET and (folder / CHARSET).is_file():
    cfg.data.charset = str(folder / CHARSET)
  return cfg


def published_kind(folder: Path) -> str | None:
  """The `model_type` that another library's `config.json` names; None in our own."""
  try:
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return None if "method" in found else found.get("model_type")
  except (OSError, ValueError, AttributeError, TypeError):
    return None


def newer_version(folder: Path) -> str:
  """What to add to an error about weights of a newer version of mdm; else nothing."""
  path = folder / pretrained.WEIGHTS
  written = safetensors.read_header(path).get("version", "") if path.is_file() else ""
  if _version(written) <= _version(mdm.__version__):
    return ""
  return (
    f" {path} was written by mdm {written}, and this is {mdm.__version__}: "
    "pip install -U mdm."
  )


def read_variables(
  folder: Path,
  cfg: ml_collections.ConfigDict,
  method: Method,
  step: int | None = None,
) -> tuple[dict[str, Any], int]:
  """What the method learned, from exported weights, and the step they are of.

  Nothing is compiled: names and shapes are compared with those the config gives.

  Args:
    folder: of the weights.
    cfg: the config beside them.
    method: the method that the config names.
    step: the step that they must be of; None for any.

  Raises:
    ValueError: the file is missing, damaged, of another model or of another step.
  """
  path = folder / pretrained.WEIGHTS
  variables, header = safetensors.load_variables(path, variable_shapes(cfg, method))
  found = int(header.get("step", 0))
  if step not in (None, found):
    raise ValueError(
      f"{path} is of step {found}, the only one; leave out --step {step}."
    )
  return variables, found


def variable_shapes(cfg: ml_collections.ConfigDict, method: Method) -> dict[str, Any]:
  """Shapes and dtypes of a method's variables, found without computing anything."""
  import flax

  def make() -> dict[str, Any]:
    """Fresh variables without their axis names."""
    return flax.core.meta.unbox(init_variables(method, example_batch(cfg), 0))

  return dict(jax.eval_shape(make))


def example_batch(cfg: ml_collections.ConfigDict) -> dict[str, jax.Array]:
  """One example of zeros with every entry that the config's data have; speech is short.

  Raises:
    ValueError: images are of the data set's own size, which is not built.
  """
  from mdm.data import datasets
  from mdm.data.speech_settings import SpeechSettings

  data = cfg.data.to_dict()
  settings = datasets.read_settings(data)
  if hasattr(settings, "image_size"):
    rows, columns, channels = image_shape(cfg)
    data |= {"image_size": (rows, columns), "channels": channels}
  if isinstance(settings, SpeechSettings):  # a second of it
    rate = int(cfg.method.get("rate", SpeechMethod.rate))
    data |= {"rate": rate, "max_seconds": 1.0, "crop_seconds": None}
  shapes = datasets.batch_shapes(data, 1)
  batch = {name: jnp.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
  return batch | {"step": jnp.zeros((), jnp.int32)}


def image_shape(cfg: ml_collections.ConfigDict) -> tuple[int, int, int]:
  """Rows, columns and channels of a config's images.

  Raises:
    ValueError: they are the data set's own, which is not built.
  """
  from mdm.data import datasets

  data = cfg.data.to_dict()
  settings: Any = datasets.read_settings(data)
  size, channels = settings.image_size, getattr(settings, "channels", 1)
  if size is None or channels is None:
    described = datasets.load(data, "validation").describe()
    size, channels = described["image_shape"][:2], described["image_shape"][2]
  return int(size[0]), int(size[1]), int(channels)


def check_target(folder: Path, force: bool) -> None:
  """Raises ValueError unless weights may be written to a folder."""
  if folder.is_file():
    raise ValueError(f"{folder} is a file; name a folder to export to.")
  if not force and folder.is_dir() and any(folder.iterdir()):
    raise ValueError(
      f"{folder} holds something already; name a new folder, or replace its files with "
      "--force."
    )


def _version(text: str) -> tuple[int, ...]:
  """The leading numbers of a version."""
  found = re.match(r"\d+(\.\d+)*", text)
  return tuple(int(part) for part in found[0].split(".")) if found else ()
