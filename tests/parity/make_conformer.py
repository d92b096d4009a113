"""Writes conformer.npz: what the original makes of small random weights and inputs.

  python tests/parity/make_conformer.py [OUTPUT]

The interpreter needs torch and transformers (tried: 2.13 and 5.23). Nothing of it is
needed to run the tests, which read the numbers. The keys are listed in README.md beside
this file.

Every row goes through the original alone: in a batch its padding would change the rest.
"""

import pathlib
import sys

import numpy as np
import torch
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer import modeling_wav2vec2_conformer as hf

LENGTHS, DEPTH = (40, 17), 2
SIZES = {
  "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 40,
  "conv_depthwise_kernel_size": 31, "max_source_positions": 50,
}  # fmt: skip


def main(output: str) -> None:
  config = Wav2Vec2ConformerConfig(
    hidden_act="swish", position_embeddings_type="relative", **SIZES
  )
  config._attn_implementation = "eager"
  places = hf.Wav2Vec2ConformerRelPositionalEmbedding(config)
  blocks = [hf.Wav2Vec2ConformerEncoderLayer(config) for _ in range(DEPTH)]
  layers = torch.nn.ModuleList(blocks).eval()
  rng = np.random.default_rng(0)
  layers.load_state_dict(
    {
      name: torch.from_numpy(draw(rng, name, leaf.shape)) if leaf.ndim else leaf
      for name, leaf in layers.state_dict().items()
    }
  )
  rows = [rng.normal(size=(n, SIZES["hidden_size"])) for n in LENGTHS]
  inputs, outputs, total = [], [], 0.0
  for row in rows:
    x = torch.from_numpy(row.astype(np.float32))[None].requires_grad_()
    inputs.append(x)
    y = x
    for layer in layers:
      y = layer(y, relative_position_embeddings=places(y))
      y = y[0] if isinstance(y, tuple) else y
    outputs.append(y)
    total = total + (y - 1.0).square().sum()
  total.backward()
  found = {"output/loss": total.detach().numpy()}
  for i, (x, y) in enumerate(zip(inputs, outputs, strict=True)):
    found[f"input/{i}"], found[f"output/{i}"] = x[0].detach(), y[0].detach()
    found[f"grad_input/{i}"] = x.grad[0]
  leaves = layers.state_dict()
  found |= {f"weights/{k}": v for k, v in leaves.items() if v.ndim}
  found |= {f"grad/{k}": leaf.grad for k, leaf in layers.named_parameters()}
  np.savez_compressed(output, **{k: np.asarray(v) for k, v in found.items()})
  print(f"{output}: {len(found)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Random values of the size that such a leaf has."""
  noise = rng.normal(size=shape)
  is_norm = "norm" in name and len(shape) == 1
  if is_norm and name.endswith("running_var"):
    noise = 0.5 + np.abs(noise)
  elif is_norm and name.endswith("weight"):
    noise = 1 + 0.2 * noise
  else:
    noise = 0.25 * noise
  return noise.astype(np.float32)


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1] if len(sys.argv) > 1 else str(here / "conformer.npz"))
