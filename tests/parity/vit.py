"""The published ViTs' numbers, and their weights under our names."""

import functools
import json
import pathlib

import numpy as np

from mdm.interop import vit, vit_config

MODELS = ("classifier", "encoder", "mae")


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_vit.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("vit.npz")) as file:
    return dict(file)


def files(model: str, processor: dict | None = None, **changes) -> dict:
  """The files of a checkpoint: its `config.json` with changes, and a processor."""
  given = json.loads(str(numbers()[f"{model}/config"])) | changes
  return {vit_config.CONFIG: given, vit_config.PROCESSOR: processor}


def config(model: str, **changes) -> dict:
  """What the files stand for; `changes` to the networks."""
  found = vit_config.read_config(files(model))
  for spec in found["model"].values():
    spec |= changes
  return found


def weights(model: str) -> dict[str, np.ndarray]:
  """The stored weights by the names in transformers' file."""
  start = f"{model}/weights/"
  stored = numbers()
  return {k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)}


def params(model: str, **changes) -> dict:
  """The stored weights as our parameters."""
  return vit.import_weights(weights(model), config(model, **changes))


def write(model: str, folder: pathlib.Path, processor: dict | None = None) -> None:
  """The checkpoint's folder as transformers writes it."""
  from safetensors.numpy import save_file

  folder.mkdir(parents=True, exist_ok=True)
  save_file(weights(model), folder / vit.WEIGHTS, {"format": "pt"})
  for name, content in files(model, processor).items():
    if content is not None:
      (folder / name).write_text(json.dumps(content))
