"""Writes simmim.npz: what the original makes of small random weights and images.

  python tests/parity/make_simmim.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github microsoft/SimMIM at commit d3e29bc; the interpreter
needs torch and timm 0.3.2 (tried: torch 2.13). What timm imports and these models do
not use is stubbed. Nothing of it is needed to run the tests, which read the numbers.
The keys are listed in README.md beside this file.

The transformer has learned positions instead of the published biases for relative ones,
and no factors on its branches: both are settings of the original.
"""

import collections.abc
import functools
import pathlib
import sys
import types
from unittest import mock

import numpy as np

ROWS, IMAGE, PATCH, CELL = 3, 24, 4, 8
SIZES = {"embed_dim": 24, "depth": 2, "num_heads": 3}
UNUSED = (
  "data.data_finetune", "timm.data", "torchvision", "torchvision.datasets",
  "torchvision.transforms", "scipy",
)  # fmt: skip
SETTINGS = {
  "num_classes": 0, "qkv_bias": True, "use_abs_pos_emb": True, "init_values": None,
  "use_shared_rel_pos_bias": False, "use_mean_pooling": False,
}  # fmt: skip


def main(checkout: str, output: str) -> None:
  stub()
  sys.path.insert(0, checkout)
  import torch
  from data.data_simmim import MaskGenerator
  from models.simmim import SimMIM, VisionTransformerForSimMIM

  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  encoder = VisionTransformerForSimMIM(
    img_size=IMAGE, patch_size=PATCH, norm_layer=norm, **SIZES, **SETTINGS
  )
  simmim = SimMIM(encoder, PATCH)
  rng = np.random.default_rng(0)
  weights = {}
  for name, leaf in simmim.state_dict().items():
    noise = 0.3 * rng.normal(size=leaf.shape) + ("norm" in name and "weight" in name)
    weights[name] = torch.from_numpy(noise.astype(np.float32))
  simmim.load_state_dict(weights)
  np.random.seed(0)
  masks = np.stack([MaskGenerator(IMAGE, CELL, PATCH, 0.6)() for _ in range(ROWS)])
  image = rng.normal(size=(ROWS, 3, IMAGE, IMAGE)).astype(np.float32)
  x, mask = torch.from_numpy(image), torch.from_numpy(masks)
  loss = simmim(x, mask)
  loss.backward()
  tokens = encoder(x, mask)
  numbers = {
    "input/image": image.transpose(0, 2, 3, 1),
    "input/mask": masks.reshape(ROWS, -1).astype(bool),
    "output/tokens": tokens.flatten(2).transpose(1, 2),
    "output/predicted": simmim.decoder(tokens).permute(0, 2, 3, 1),
    "output/loss": loss,
  }
  numbers |= {f"weights/{name}": leaf for name, leaf in weights.items()}
  numbers |= {f"grad/{name}": leaf.grad for name, leaf in simmim.named_parameters()}
  found = {
    k: v.detach().numpy() if isinstance(v, torch.Tensor) else v
    for k, v in numbers.items()
  }
  np.savez_compressed(output, **found)
  print(f"{output}: {len(found)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def stub() -> None:
  """Stands in for modules that are imported and not used here."""
  for name in UNUSED:
    sys.modules[name] = mock.MagicMock()
  six = types.ModuleType("torch._six")
  six.container_abcs, six.inf, six.string_classes = collections.abc, float("inf"), str
  six.int_classes = int
  sys.modules["torch._six"] = six


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "simmim.npz"))
