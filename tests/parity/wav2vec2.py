"""The originals' quantisers, losses, negatives and masks, with our names of weights."""

import functools
import pathlib

import numpy as np

GROUPS, ENTRIES, WIDTH = 2, 5, 6
UPDATES, TEMPERATURE = 3, {"start": 2.0, "end": 0.5, "decay": 0.9}


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_wav2vec2.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("wav2vec2.npz")) as file:
    return dict(file)


def params(folder: str = "weights/") -> dict:
  """The stored quantiser, or its gradients, as our parameters."""
  stored = numbers()
  kernel = stored[f"{folder}kernel"].T.reshape(-1, GROUPS, ENTRIES)
  bias = stored[f"{folder}bias"].reshape(GROUPS, ENTRIES)
  entries = stored[f"{folder}entries"].reshape(GROUPS, ENTRIES, -1)
  return {"logits": {"kernel": kernel, "bias": bias}, "entries": entries}
