"""Writes llada.npz: what the published LLaDA sampler does with small random networks.

  python tests/parity/make_llada.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github ML-GSAI/LLaDA (tried:
b7e6c3565f194352da44b38dd12b6970597309f3), whose `generate.py` is run; the interpreter
needs torch and numpy (tried: torch 2.13). Nothing of it is needed to run the tests,
which read the numbers. The keys are listed in README.md beside this file.

The network is a function with random tables: what a position and its token add, summed
over all positions of the row, then a sine, then a table of logits for each position.
The sampler's ids of EOS and EoT are fixed at 126081 and 126348; inside the network they
are 0 and 1, and all ids that it does not have get logits of -1e9.
"""

import pathlib
import sys
import types

import numpy as np
import torch

CLASSES, WIDTH, PROMPT, ANSWER, ROWS = 12, 16, 4, 12, 6
MASK, EOS, EOT, IDS = CLASSES, 126_081, 126_348, 126_350
# Settings of `generate` for each stored run; steps and lengths are of the answer.
RUNS = {
  "plain": {"steps": 6, "block_length": 12},
  "uneven": {"steps": 5, "block_length": 12},
  "blocks": {"steps": 6, "block_length": 4},
  "single": {"steps": 12, "block_length": 3},
  "guided": {"steps": 6, "block_length": 12, "cfg_scale": 1.5},
  "guided_blocks": {"steps": 6, "block_length": 6, "cfg_scale": 0.5},
  "never_eos": {"steps": 6, "block_length": 12, "logits_eos_inf": True},
  "late_eos": {"steps": 6, "block_length": 12, "confidence_eos_eot_inf": True},
  "late_eos_blocks": {"steps": 4, "block_length": 6, "confidence_eos_eot_inf": True},
}


class Network(torch.nn.Module):
  """Tables for logits; keeps every canvas it is shown."""

  device = "cpu"

  def __init__(self, rng: np.random.Generator) -> None:
    super().__init__()
    n = PROMPT + ANSWER
    self.tables = {
      "seen": rng.normal(size=(n, CLASSES + 1, WIDTH)).astype(np.float32),
      "out": (1.5 * rng.normal(size=(WIDTH, n, CLASSES))).astype(np.float32),
      "bias": np.r_[1.2, 0.8, np.zeros(CLASSES - 2)].astype(np.float32),  # EOS floods
    }
    self.canvases = []

  def forward(self, ids, attention_mask=None):
    tokens = small(ids)
    self.canvases.append(tokens)
    seen, out, bias = (torch.from_numpy(x) for x in self.tables.values())
    hidden = torch.sin(seen[torch.arange(tokens.shape[1]), tokens].sum(1))  # b h
    own = torch.einsum("bh,hnv->bnv", hidden, out) + bias
    logits = torch.full((*tokens.shape, IDS), -1e9)
    logits[..., :CLASSES] = own
    logits[..., :2] = -1e9
    logits[..., EOS], logits[..., EOT] = own[..., 0], own[..., 1]
    return types.SimpleNamespace(logits=logits)


def small(ids):
  """Ids of the sampler as ids of the network."""
  ids = torch.where(ids == EOS, 0, ids)
  return torch.where(ids == EOT, 1, ids)


def main(checkout: str, output: str) -> None:
  sys.path.insert(0, checkout)
  absent = types.ModuleType("transformers")
  absent.AutoTokenizer = absent.AutoModel = None  # only its own main needs them
  sys.modules["transformers"] = absent
  from generate import generate

  rng = np.random.default_rng(0)
  network = Network(rng)
  prompt = torch.from_numpy(rng.integers(2, CLASSES, size=(ROWS, PROMPT)))
  numbers = {f"network/{k}": v for k, v in network.tables.items()}
  numbers["input/prompt"] = prompt
  for name, settings in RUNS.items():
    network.canvases = []
    tokens = small(
      generate(
        network,
        prompt,
        attention_mask=torch.ones_like(prompt),  # guidance fails without
        gen_length=ANSWER,
        mask_id=MASK,
        **settings,
      )
    )
    assert (tokens != MASK).all(), f"{name}: positions are left hidden"
    shown = [canvas[:ROWS] for canvas in network.canvases]  # without the guide's rows
    numbers[f"canvases/{name}"] = torch.stack([*shown[1:], tokens])  # s b n
  numbers = {k: shrink(np.asarray(v)) for k, v in numbers.items()}
  np.savez_compressed(output, **numbers)
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def shrink(array: np.ndarray) -> np.ndarray:
  """Ids as bytes."""
  return array if array.dtype == np.float32 else array.astype(np.uint8)


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "llada.npz"))
