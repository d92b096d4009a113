"""The published BERT's numbers, and its weights under our names."""

import functools
import json
import pathlib

import numpy as np

from mdm.interop import bert, bert_config


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_bert.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("bert.npz")) as file:
    return dict(file)


def files(**changes) -> dict:
  """The files of a checkpoint: `config.json` alone, with changes."""
  there = dict.fromkeys(bert_config.FILES)
  return there | {"config.json": json.loads(str(numbers()["config"])) | changes}


def network(**changes) -> dict:
  """The stored network's settings, as a config names them."""
  return bert_config.read_config(files())["model"]["network"] | changes


def weights() -> dict[str, np.ndarray]:
  """The stored weights by their published names, without the pooler."""
  stored = {k: v for k, v in numbers().items() if k.startswith("weights/")}
  bare = {k.removeprefix("weights/"): v for k, v in stored.items()}
  return {k: v for k, v in bare.items() if not k.startswith(bert.UNREAD)}


def params(**changes) -> dict:
  """The stored weights as our parameters."""
  return bert.import_weights(weights(), network(**changes))
