"""The published Doge's numbers, and its weights under our names."""

import functools
import json
import pathlib

import numpy as np

from mdm.interop import doge, doge_config


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_doge.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("doge.npz")) as file:
    return dict(file)


def network(**changes) -> dict:
  """The stored network's settings, as a config names them."""
  found = doge_config.read_config(json.loads(str(numbers()["config"])))
  return found | changes


def below(prefix: str) -> dict[str, np.ndarray]:
  """The stored arrays of a folder, without its name."""
  stored = numbers()
  return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}


def params(**changes) -> dict:
  """The stored weights as our parameters."""
  return doge.import_weights(below("weights/"), network(**changes))
