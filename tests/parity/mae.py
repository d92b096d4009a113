"""The original MAE's numbers, and its weights under our names."""

import functools
import json
import pathlib

import numpy as np

from mdm.interop import mae, mae_config

HEADS, DECODER_HEADS = 3, 2


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_mae.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("mae.npz")) as file:
    return dict(file)


def below(prefix: str) -> dict[str, np.ndarray]:
  """The stored arrays of a folder, without its name."""
  stored = numbers()
  return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}


def weights() -> dict[str, np.ndarray]:
  """An encoder and a decoder."""
  return below("weights/")


def encoder() -> dict[str, np.ndarray]:
  """What the released files without a decoder hold."""
  return {
    k: v
    for k, v in weights().items()
    if not k.startswith("decoder_") and k != "mask_token"
  }


def classifier(pool: str) -> dict[str, np.ndarray]:
  """A fine-tuned one, with positions of its own."""
  found = encoder() | below(f"classifier/{pool}/")
  if pool == "mean":
    del found["norm.weight"], found["norm.bias"]
  return found


def config(arrays: dict, **changes) -> dict:
  """What the arrays stand for; `changes` to the encoder and the decoder."""
  found = mae_config.read_config(arrays, heads=HEADS, decoder_heads=DECODER_HEADS)
  for spec in found["model"].values():
    spec |= changes
  return found


def params(arrays: dict, **changes) -> dict:
  """Our parameters."""
  return mae.import_weights(arrays, config(arrays, **changes))


def rates() -> dict[str, tuple[float, bool]]:
  """By name: factor on the rate at decay 0.75, and whether weights decay."""
  return {k: tuple(v) for k, v in json.loads(str(numbers()["rates"])).items()}
