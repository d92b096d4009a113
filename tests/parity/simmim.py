"""The original SimMIM's numbers, and its weights under our names."""

import functools
import pathlib

import numpy as np

from mdm.interop import mae

ENCODER = {
  "name": "vit.Vit",
  "patch": 4,
  "width": 24,
  "depth": 2,
  "heads": 3,
  "positions": "learned",
}
DECODER = {"name": "patch_decoders.LinearDecoder"}
PATCH, CHANNELS = 4, 3


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_simmim.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("simmim.npz")) as file:
    return dict(file)


def params(folder: str = "weights/") -> dict:
  """The stored weights, or their gradients, as our parameters.

  Gradients of the class token's position, which we add to the token, are left out.
  """
  stored = numbers()
  arrays = {
    k.removeprefix(folder): v for k, v in stored.items() if k.startswith(folder)
  }
  encoder = {
    k.removeprefix("encoder."): v for k, v in arrays.items() if k.startswith("encoder.")
  }
  for i in range(ENCODER["depth"]):
    query, value = (encoder.pop(f"blocks.{i}.attn.{x}_bias") for x in "qv")
    bias = np.concatenate([query, np.zeros_like(query), value])
    encoder[f"blocks.{i}.attn.qkv.bias"] = bias
  if folder == "grad/":
    encoder["pos_embed"][:, 0] = 0
  token = encoder.pop("mask_token")
  config = {
    "model": {"encoder": ENCODER},
    "data": {"image_size": (24, 24), "channels": 3},
  }
  found = mae.import_weights(encoder, config)
  found["encoder"]["mask_embedding"] = token
  # Channels, then rows and columns of a patch, as the shuffle of pixels takes them.
  shape = (CHANNELS, PATCH, PATCH, -1)
  kernel = arrays["decoder.0.weight"].reshape(shape).transpose(3, 1, 2, 0)
  bias = arrays["decoder.0.bias"].reshape(shape[:3]).transpose(1, 2, 0)
  head = {"kernel": kernel.reshape(len(kernel), -1), "bias": bias.ravel()}
  return found | {"decoder": {"head": head}}
