"""Writes bert.npz: what transformers' BertModel makes of small random weights.

  python tests/parity/make_bert.py [OUTPUT]

The interpreter needs torch and transformers (tried: torch 2.13, transformers 5.23).
Nothing of them is needed to run the tests, which read the numbers. The keys are listed
in README.md beside this file.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from transformers import BertConfig, BertModel

ROWS, LENGTH, REAL = 3, 10, (10, 7, 2)
SIZES = {
  "vocab_size": 40,
  "hidden_size": 24,
  "intermediate_size": 36,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "max_position_embeddings": 12,
  "type_vocab_size": 2,
  "layer_norm_eps": 1e-5,
}


def main(output: str) -> None:
  rng = np.random.default_rng(0)
  torch.manual_seed(0)
  config = BertConfig(**SIZES, attn_implementation="eager")
  model = BertModel(config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      drawn = rng.normal(0.0, 0.3, parameter.shape).astype(np.float32)
      parameter.copy_(torch.from_numpy(drawn))
  tokens = rng.integers(0, SIZES["vocab_size"], (ROWS, LENGTH))
  segment = rng.integers(0, 2, (ROWS, LENGTH))
  valid = np.arange(LENGTH) < np.array(REAL)[:, None]
  with torch.no_grad():
    states = model(
      input_ids=torch.from_numpy(tokens),
      attention_mask=torch.from_numpy(valid.astype(np.int64)),
      token_type_ids=torch.from_numpy(segment),
    ).last_hidden_state
  weights = {f"weights/{k}": v.numpy() for k, v in model.state_dict().items()}
  np.savez_compressed(
    output,
    config=json.dumps(SIZES | {"model_type": "bert", "hidden_act": "gelu"}),
    tokens=tokens.astype(np.int32),
    segment=segment.astype(np.int32),
    valid=valid,
    states=states.numpy(),
    **weights,
  )


if __name__ == "__main__":
  here = pathlib.Path(__file__).with_name("bert.npz")
  main(sys.argv[1] if len(sys.argv) > 1 else str(here))
