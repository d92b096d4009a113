"""Writes doge.npz: what transformers' DogeForCausalLM makes of small random weights.

  python tests/parity/make_doge.py [OUTPUT]

The interpreter needs torch and transformers (tried: torch 2.13, transformers 5.23).
Nothing of them is needed to run the tests, which read the numbers. The keys are listed
in README.md beside this file.

Attention is "eager" and an attention mask is given: earlier releases drop the causal
mask without one. Nothing ties, for torch leaves open which of equals it keeps: A is far
from 0, and no token comes twice in a row, since equal tokens have equal scores in the
first layer.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from transformers import DogeConfig, DogeForCausalLM

ROWS, LENGTH, REAL = 3, 24, (24, 20, 24)
SIZES = {
  "vocab_size": 32,
  "hidden_size": 32,
  "intermediate_size": 40,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "max_position_embeddings": 64,
  "tie_word_embeddings": True,
  "bos_token_id": 1,
  "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
}
CASES = {"sparse": 6, "dense": 64}  # keys that a query keeps


def main(output: str) -> None:
  rng = np.random.default_rng(0)
  line = np.tile(np.arange(2, SIZES["vocab_size"]), (ROWS, 1))
  tokens = rng.permuted(line, axis=1)[:, :LENGTH]
  tokens[:, 0] = SIZES["bos_token_id"]
  valid = np.arange(LENGTH) < np.array(REAL)[:, None]
  numbers = {"input/tokens": tokens.astype(np.uint8), "input/valid": valid}
  weights = None
  for case, window in CASES.items():
    config = DogeConfig(**SIZES, keep_window_size=window)
    model = DogeForCausalLM._from_config(config, attn_implementation="eager")
    model.eval()
    weights = randomize(model, rng) if weights is None else weights
    model.load_state_dict(weights)
    model.tie_weights()
    labels = torch.from_numpy(np.where(valid, tokens, -100))
    found = model(
      torch.from_numpy(tokens),
      attention_mask=torch.from_numpy(valid).long(),
      labels=labels,
    )
    found.loss.backward()
    numbers[f"{case}/logits"] = found.logits.detach()
    numbers[f"{case}/loss"] = found.loss.detach()
    if case == "sparse":
      for name, leaf in model.named_parameters():
        numbers[f"sparse/grad/{name}"] = leaf.grad
      config.architectures = ["DogeForCausalLM"]
      numbers["config"] = np.array(json.dumps(config.to_dict()))
  for name, leaf in weights.items():
    if name != "lm_head.weight":  # tied
      numbers[f"weights/{name}"] = leaf
  np.savez_compressed(output, **{k: np.asarray(v) for k, v in numbers.items()})
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def randomize(model: torch.nn.Module, rng: np.random.Generator) -> dict:
  """Weights of which none is 0, and scores of keys that differ by much."""
  scales = {"A": 1.0, "dt_proj": 0.7, "norm": 0.3, "residual": 0.3}
  weights = {}
  for name, leaf in model.state_dict().items():
    if name == "lm_head.weight":
      continue
    scale = next((s for part, s in scales.items() if part in name), 0.3)
    noise = scale * rng.normal(size=leaf.shape)
    is_factor = "norm" in name or "residual" in name
    weights[name] = torch.from_numpy((is_factor + noise).astype(np.float32))
  return weights | {"lm_head.weight": weights["model.embed_tokens.weight"]}


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1] if len(sys.argv) > 1 else str(here / "doge.npz"))
