"""Writes vit.npz: what transformers' ViT and ViTMAE make of small random weights.

  python tests/parity/make_vit.py [OUTPUT]

The interpreter needs torch, transformers and Pillow (tried: 2.13, 5.23, 12).
Nothing of them is needed to run the tests, which read the numbers. The keys are listed
in README.md beside this file.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.models.vit_mae import modeling_vit_mae

ROWS, SIDE, CLASSES = 3, 20, ("ant", "bee", "crane", "crane")
SIZES = {
  "image_size": SIDE,
  "patch_size": 4,
  "hidden_size": 16,
  "intermediate_size": 40,
  "num_hidden_layers": 2,
  "num_attention_heads": 2,
}
DECODER = {
  "decoder_hidden_size": 12,
  "decoder_intermediate_size": 20,
  "decoder_num_hidden_layers": 1,
  "decoder_num_attention_heads": 3,
}
PREPARED = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "resample": 3}
FIXED = ("position_embeddings", "decoder_pos_embed")
DROPPED = ("transformers_version", "dtype")


def main(output: str) -> None:
  rng = np.random.default_rng(0)
  torch.manual_seed(0)
  image = rng.integers(0, 256, (ROWS, SIDE, SIDE, 3)).astype(np.uint8)
  noise = rng.random((ROWS, (SIDE // 4) ** 2)).astype(np.float32)
  pixels = torch.from_numpy((image / 255.0 - 0.5) / 0.5).float().permute(0, 3, 1, 2)
  photo = rng.integers(0, 256, (30, 44, 3)).astype(np.uint8)
  numbers = {"input/image": image, "input/noise": noise, "input/photo": photo}
  processor = ViTImageProcessorPil(**PREPARED, size={"height": SIDE, "width": SIDE})
  ready = processor(images=photo, return_tensors="np")["pixel_values"][0]
  numbers["output/photo"] = ready.transpose(1, 2, 0)

  named = transformers.ViTConfig(**SIZES, id2label=dict(enumerate(CLASSES)))
  classifier = randomize(transformers.ViTForImageClassification(named), rng)
  encoder = randomize(transformers.ViTModel(transformers.ViTConfig(**SIZES)), rng)
  rough = transformers.ViTMAEConfig(**SIZES, **DECODER, layer_norm_eps=1e-6)
  mae = randomize(transformers.ViTMAEForPreTraining(rough), rng)
  with torch.no_grad():
    numbers["classifier/logits"] = classifier(pixels).logits
    numbers["encoder/states"] = encoder(pixels).last_hidden_state
    for case in (False, True):
      mae.config.norm_pix_loss = case
      found = mae(pixels, noise=torch.from_numpy(noise))
      numbers[f"mae/loss_{'norm' if case else 'plain'}"] = found.loss
  numbers |= {"mae/predicted": found.logits, "mae/mask": found.mask.bool()}
  numbers = {name: np.asarray(x) for name, x in numbers.items()}
  for name, model in {"classifier": classifier, "encoder": encoder, "mae": mae}.items():
    numbers |= {f"{name}/{key}": x for key, x in published(model).items()}
  np.savez_compressed(output, **numbers)


def randomize(model: torch.nn.Module, rng: np.random.Generator) -> torch.nn.Module:
  """The model with random weights, but for positions that are fixed."""
  is_fixed = isinstance(model, transformers.ViTMAEForPreTraining)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      if is_fixed and name.endswith(FIXED):
        parameter.copy_(table(parameter.shape[-1]))
      else:
        is_scale = "norm" in name and name.endswith("weight")
        drawn = rng.normal(float(is_scale), 0.3, parameter.shape).astype(np.float32)
        parameter.copy_(torch.from_numpy(drawn))
  return model.eval()


def table(width: int) -> torch.Tensor:
  """Fixed positions, their halves turned as in published weights (its comment)."""
  side = SIDE // SIZES["patch_size"]
  make = modeling_vit_mae.build_2d_sinusoidal_position_embedding
  first, second = make(side, side, width, cls_token=True).chunk(2, dim=-1)
  return torch.cat([second, first], dim=-1)[None]


def published(model: torch.nn.Module) -> dict[str, np.ndarray]:
  """Its weights by the names in a saved file, and its config."""
  with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    found = load_file(f"{folder}/model.safetensors")
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
  kept = {name: value for name, value in config.items() if name not in DROPPED}
  numbers = {f"weights/{name}": x for name, x in found.items()}
  return numbers | {"config": np.asarray(json.dumps(kept))}


if __name__ == "__main__":
  here = pathlib.Path(__file__).with_name("vit.npz")
  main(sys.argv[1] if len(sys.argv) > 1 else str(here))
