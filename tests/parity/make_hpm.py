"""Writes hpm.npz: what the original makes of small random weights, images and losses.

  python tests/parity/make_hpm.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github Haochen-Wang409/HPM at commit c15ae90; the interpreter
needs torch and timm 0.3.2 (tried: torch 2.13). What is imported and not used here is
stubbed. Nothing of it is needed to run the tests, which read the numbers. The keys are
listed in README.md beside this file.
"""

import collections.abc
import functools
import pathlib
import sys
import types
from unittest import mock

import numpy as np

ROWS, IMAGE, PATCH, KEPT = 3, 20, 4, 6
ENCODER = {"embed_dim": 24, "depth": 2, "num_heads": 3}
DECODER = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
UNUSED = ("timm.data", "einops")
GUIDED, PATCHES, EPOCHS = 48, 49, 20


def main(checkout: str, output: str) -> None:
  for name in UNUSED:
    sys.modules[name] = mock.MagicMock()
  six = types.ModuleType("torch._six")
  six.container_abcs, six.inf, six.string_classes = collections.abc, float("inf"), str
  six.int_classes = int
  sys.modules["torch._six"] = six
  np.float = float  # as NumPy had it
  sys.path.insert(0, checkout)
  import models_mae_learn_loss as models
  import torch

  norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
  rng = np.random.default_rng(0)
  model = models.MaskedAutoencoderViT(
    IMAGE, PATCH, norm_layer=norm, **ENCODER, **DECODER
  )
  weights = {}
  for name, leaf in model.state_dict().items():
    noise = 0.3 * rng.normal(size=leaf.shape) + ("norm" in name and "weight" in name)
    weights[name] = leaf if "pos_embed" in name else torch.from_numpy(noise).float()
  model.load_state_dict(weights)
  image = rng.normal(size=(ROWS, 3, IMAGE, IMAGE)).astype(np.float32)
  order = np.argsort(rng.random((ROWS, (IMAGE // PATCH) ** 2)), axis=1)
  mask = np.ones(order.shape, bool)
  np.put_along_axis(mask, order[:, :KEPT], False, axis=1)
  x, hidden = torch.from_numpy(image), torch.from_numpy(mask)
  numbers = {"input/image": image.transpose(0, 2, 3, 1), "input/mask": mask}
  with torch.no_grad():
    numbers["output/losses_of_all"] = model(x, torch.zeros_like(hidden))["loss_pred"]
  found = model(x, hidden)
  count = found["mask_num"]
  predicted = found["loss_pred"][:, -count:]
  numbers |= {"output/patches": found["pix_pred"][:, -count:]}
  numbers |= {"output/losses": predicted}
  loss = model.forward_loss(x, found["pix_pred"][:, -count:], hidden)
  target = loss["matrix"].detach()
  learn = {
    name: model.forward_learning_loss(predicted, hidden, target, relative=is_relative)
    for name, is_relative in (("relative", True), ("absolute", False))
  }
  numbers |= {"output/loss": loss["mean"], "output/error": target}
  numbers |= {f"output/{name}": value for name, value in learn.items()}
  (loss["mean"] + learn["relative"]).backward()
  for name, leaf in model.named_parameters():
    if leaf.requires_grad:
      numbers[f"grad/{name}"] = leaf.grad
  numbers |= {f"weights/{name}": leaf for name, leaf in weights.items()}
  difficulty = torch.from_numpy(rng.normal(size=(GUIDED, PATCHES))).float()
  torch.manual_seed(0)
  np.random.seed(0)
  numbers["guide/difficulty"] = difficulty
  numbers["guide/mask"] = torch.stack(
    [
      model.generate_mask(difficulty, mask_ratio=0.75, epoch=e, total_epoch=EPOCHS)
      for e in range(EPOCHS)
    ]
  ).bool()
  found = {
    k: v.detach().numpy() if isinstance(v, torch.Tensor) else v
    for k, v in numbers.items()
  }
  np.savez_compressed(output, **found)
  print(f"{output}: {len(found)} arrays, {pathlib.Path(output).stat().st_size} bytes")


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "hpm.npz"))
