"""The original HPM's numbers, and its weights under our names."""

import functools
import pathlib

import numpy as np

from mdm.interop import mae

ENCODER = {"name": "vit.Vit", "patch": 4, "width": 24, "depth": 2, "heads": 3}
DECODER = {"name": "patch_decoders.TwinDecoder", "width": 16, "depth": 1, "heads": 2}
CONFIG = {
  "model": {"encoder": ENCODER, "decoder": DECODER},
  "data": {"image_size": (20, 20), "channels": 3},
}
TWIN = "_losspred"


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_hpm.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("hpm.npz")) as file:
    return dict(file)


def params(folder: str = "weights/") -> dict:
  """The stored weights, or their gradients, as our parameters.

  Each of the decoders is read as that of a masked autoencoder.
  """
  stored = numbers()
  arrays = {
    k.removeprefix(folder): v for k, v in stored.items() if k.startswith(folder)
  }
  for table in ("pos_embed", "decoder_pos_embed"):  # fixed: without a gradient
    arrays[table] = stored[f"weights/{table}"]
  first = {k: v for k, v in arrays.items() if TWIN not in k}
  second = first | {k.replace(TWIN, ""): v for k, v in arrays.items() if TWIN in k}
  found, twin = (mae.import_weights(x, CONFIG) for x in (first, second))
  decoder = {f"loss_{part}": twin["decoder"][part] for part in ("stack", "head")}
  return found | {"decoder": found["decoder"] | decoder}
