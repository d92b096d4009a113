"""Writes mae.npz: what the original's models make of small random weights and images.

  python tests/parity/make_mae.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github facebookresearch/mae at commit efb2a80; the
interpreter needs torch and timm 0.3.2 (tried: torch 2.13). What timm imports and these
models do not use is stubbed. Nothing of it is needed to run the tests, which read the
numbers. The keys are listed in README.md beside this file.
"""

import collections.abc
import functools
import json
import pathlib
import sys
import types
from unittest import mock

import numpy as np

ROWS, IMAGE, PATCH, CLASSES, DECAY = 3, 20, 4, 5, 0.75
ENCODER = {"embed_dim": 24, "depth": 2, "num_heads": 3}
DECODER = {"decoder_embed_dim": 16, "decoder_depth": 2, "decoder_num_heads": 2}
UNUSED = ("timm.data",)


def main(checkout: str, output: str) -> None:
  for name in UNUSED:
    sys.modules[name] = mock.MagicMock()
  six = types.ModuleType("torch._six")
  six.container_abcs, six.inf, six.string_classes = collections.abc, float("inf"), str
  six.int_classes = int
  sys.modules["torch._six"] = six
  np.float = float  # as NumPy had it
  sys.path.insert(0, checkout)
  import models_mae
  import models_vit
  import torch
  from util import lr_decay

  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  rng = np.random.default_rng(0)
  image = rng.normal(size=(ROWS, 3, IMAGE, IMAGE)).astype(np.float32)
  noise = rng.random((ROWS, (IMAGE // PATCH) ** 2)).astype(np.float32)
  numbers = {"input/image": image.transpose(0, 2, 3, 1), "input/noise": noise}
  mae = models_mae.MaskedAutoencoderViT(
    IMAGE, PATCH, norm_layer=norm, **ENCODER, **DECODER
  )
  weights = randomize(mae, rng)
  numbers |= {f"weights/{name}": leaf for name, leaf in weights.items()}
  x = torch.from_numpy(image)
  with mock.patch.object(torch, "rand", return_value=torch.from_numpy(noise)):
    latent, mask, restore = mae.forward_encoder(x, 0.75)
    numbers |= {"output/latent": latent, "output/mask": mask.bool()}
    numbers["output/predicted"] = mae.forward_decoder(latent, restore)
    for case in ("plain", "norm"):
      mae.norm_pix_loss = case == "norm"
      mae.zero_grad()
      loss, _, _ = mae(x)
      loss.backward()
      numbers[f"output/loss_{case}"] = loss
  for name, leaf in mae.named_parameters():
    if leaf.requires_grad:
      numbers[f"grad/{name}"] = leaf.grad
  for pool in ("mean", "cls"):
    vit = models_vit.VisionTransformer(
      global_pool=pool == "mean", img_size=IMAGE, patch_size=PATCH, qkv_bias=True,
      num_classes=CLASSES, norm_layer=norm, **ENCODER,
    )  # fmt: skip
    own = classifier(vit, weights, rng)
    numbers |= {
      f"classifier/{pool}/{k}": v for k, v in own.items() if not same(v, weights.get(k))
    }
    numbers[f"output/logits_{pool}"] = vit.eval()(x)
  groups = lr_decay.param_groups_lrd(
    vit, 0.05, no_weight_decay_list=vit.no_weight_decay(), layer_decay=DECAY
  )
  names = {leaf: name for name, leaf in vit.named_parameters()}
  rates = {
    names[leaf]: (group["lr_scale"], group["weight_decay"] > 0)
    for group in groups
    for leaf in group["params"]
  }
  numbers["rates"] = np.array(json.dumps(rates))
  found = {
    k: v.detach().numpy() if isinstance(v, torch.Tensor) else v
    for k, v in numbers.items()
  }
  np.savez_compressed(output, **found)
  print(f"{output}: {len(found)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def randomize(model, rng: np.random.Generator) -> dict:
  """Weights none of which is 0; the fixed tables stay."""
  import torch

  weights = {}
  for name, leaf in model.state_dict().items():
    fixed = "pos_embed" in name and not model.get_parameter(name).requires_grad
    noise = 0.3 * rng.normal(size=leaf.shape) + ("norm" in name and "weight" in name)
    weights[name] = leaf if fixed else torch.from_numpy(noise.astype(np.float32))
  model.load_state_dict(weights)
  return {name: leaf.clone() for name, leaf in weights.items()}


def classifier(model, weights: dict, rng: np.random.Generator) -> dict:
  """A fine-tuned one: the encoder's weights, and a head and positions of its own."""
  own = randomize(model, rng)
  for name in own:
    if name in weights and name != "pos_embed":
      own[name] = weights[name]
  model.load_state_dict(own)
  return own


def same(a, b) -> bool:
  """Whether an array is stored already."""
  return b is not None and a.shape == b.shape and bool((a == b).all())


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "mae.npz"))
