"""Writes wav2vec2.npz: quantisers, losses, negatives and masks of the originals.

  python tests/parity/make_wav2vec2.py FAIRSEQ FAIRSEQ2 [OUTPUT]

FAIRSEQ is a checkout of github facebookresearch/fairseq at commit 3d262bb, FAIRSEQ2 of
facebookresearch/fairseq2 at 027bdeb; the interpreter needs torch (tried: 2.13). What
their modules import and these functions do not use is left out. Nothing of it is needed
to run the tests, which read the numbers. The keys are listed in README.md beside this
file.
"""

import ast
import pathlib
import sys
import types
from typing import Any
from unittest import mock

import numpy as np
import torch

GROUPS, ENTRIES, WIDTH, INPUT = 2, 5, 6, 4
TEMPERATURE = (2.0, 0.5, 0.9)
UPDATES = 3
B, N, M, K, D = 2, 7, 6, 8, 5
ROWS, FRAMES = 4_000, 40


def main(fairseq: str, fairseq2: str, output: str) -> None:
  first, second = pathlib.Path(fairseq, "fairseq"), pathlib.Path(fairseq2, "src")
  rng = np.random.default_rng(0)
  found = quantiser(first, second / "fairseq2", rng)
  model = functions(
    first / "models/wav2vec/wav2vec2.py", ["compute_preds", "sample_negatives"]
  )
  found |= contrast(model, rng) | negatives(model) | masks(first)
  np.savez_compressed(output, **{k: np.asarray(v) for k, v in found.items()})
  print(f"{output}: {len(found)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def functions(path: pathlib.Path, names: list[str]) -> dict[str, Any]:
  """Functions of a file by name, compiled by themselves."""
  tree = ast.parse(path.read_text())
  nodes = [n for n in ast.walk(tree) if getattr(n, "name", "") in names]
  for node in nodes:
    node.decorator_list = []
  place = {
    "torch": torch, "np": np, "Optional": mock.MagicMock(), "Tuple": tuple,
    "buffered_arange": torch.arange, "is_xla_tensor": lambda _: False,
    "index_put": lambda x, at, value: x.masked_fill(at, value),
  }  # fmt: skip
  exec(compile(ast.Module(nodes, []), str(path), "exec"), place)
  return place


def quantiser(
  first: pathlib.Path, second: pathlib.Path, rng: np.random.Generator
) -> dict[str, Any]:
  """What both quantisers make of the same frames, with given noise."""
  place: dict[str, Any] = {"__name__": "original"}
  path = first / "modules/gumbel_vector_quantizer.py"
  exec(compile(path.read_text(), str(path), "exec"), place)
  ours = place["GumbelVectorQuantizer"](
    INPUT, ENTRIES, TEMPERATURE, GROUPS, False, WIDTH, True
  )
  other = of_fairseq2(second)(INPUT, WIDTH, GROUPS, ENTRIES, TEMPERATURE)
  z = rng.normal(size=(B, N, INPUT)).astype(np.float32)
  noise = rng.gumbel(size=(B * N * GROUPS, ENTRIES)).astype(np.float32)
  kernel = rng.normal(size=(GROUPS * ENTRIES, INPUT)).astype(np.float32)
  bias = rng.normal(size=GROUPS * ENTRIES).astype(np.float32)
  entries = rng.uniform(size=(1, GROUPS * ENTRIES, WIDTH // GROUPS))
  to = torch.from_numpy(rng.normal(size=(B, N, WIDTH)).astype(np.float32))
  names = {"kernel": "weight_proj.weight", "bias": "weight_proj.bias"}
  weights = {"kernel": kernel, "bias": bias, "entries": entries.astype(np.float32)}
  state = {names.get(k, "vars"): torch.from_numpy(v) for k, v in weights.items()}
  ours.load_state_dict(state)
  other.load_state_dict({
    "entry_proj.weight": state["weight_proj.weight"],
    "entry_proj.bias": state["weight_proj.bias"],
    "entries": state["vars"], "num_updates": torch.tensor(UPDATES),
  })  # fmt: skip
  ours.set_num_updates(UPDATES)
  x = torch.from_numpy(z).requires_grad_()

  def exponential(tensor: torch.Tensor) -> torch.Tensor:
    """Noise whose negative logarithm is the given one."""
    return tensor.copy_(torch.from_numpy(np.exp(-noise)))

  found = {"input/z": z, "input/gumbel": noise, "input/to": to}
  with mock.patch.object(torch.Tensor, "exponential_", exponential):
    result = ours.train()(x, produce_targets=True)
    again = other.train()(torch.from_numpy(z))
  total = GROUPS * ENTRIES
  diversity = (total - result["prob_perplexity"]) / total
  ((result["x"] * to).sum() + diversity).backward()
  found |= {"quantiser/temperature": result["temp"], "quantiser/diversity": diversity}
  found |= {"quantiser/vectors": result["x"], "quantiser/ids": result["targets"]}
  found["quantiser/code_perplexity"] = result["code_perplexity"]
  found |= {"fairseq2/vectors": again.quantized_vectors, "grad/z": x.grad}
  found["fairseq2/temperature"] = again.temperature
  found["fairseq2/ids"] = again.cb.view(B, N, GROUPS, -1).argmax(-1)
  grads = {k: leaf.grad for k, leaf in ours.named_parameters()}
  found |= {f"weights/{k}": v for k, v in weights.items()}
  found |= {f"grad/{k}": grads[names.get(k, "vars")] for k in weights}
  still = ours.eval()(torch.from_numpy(z), produce_targets=True)
  found |= {"evaluated/vectors": still["x"], "evaluated/ids": still["targets"]}
  return {k: v.detach() if torch.is_tensor(v) else v for k, v in found.items()}


def of_fairseq2(second: pathlib.Path) -> type:
  """Its class of quantisers, on torch's own linear maps."""

  class Linear(torch.nn.Linear):
    def __init__(self, inputs, outputs, bias, *, init_fn, device, dtype):
      super().__init__(inputs, outputs, bias)

  for name in ("", ".data_type", ".device", ".nn"):
    module = types.ModuleType(f"fairseq2{name}")
    module.Linear = Linear
    module.DataType = module.Device = object
    sys.modules[module.__name__] = module
  path = second / "models/wav2vec2/vector_quantizer.py"
  module = types.ModuleType("original2")
  sys.modules["original2"] = module
  exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
  torch.compile = lambda **_: lambda function: function  # not for one sum
  return module.GumbelWav2Vec2VectorQuantizer


def contrast(model: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
  """Costs of anchors whose negatives are given, two of them equal to the target."""
  context, target = (
    torch.from_numpy(rng.normal(size=(B, M, D)).astype(np.float32)).requires_grad_()
    for _ in range(2)
  )
  codes = rng.integers(0, 4, size=(B, M))  # equal targets: those of equal codes
  target = target.detach()[:, :4].clone()
  target = torch.stack([target[b][codes[b]] for b in range(B)]).requires_grad_()
  index = rng.integers(0, M - 1, size=(B, M, K))
  index += index >= np.arange(M)[:, None]
  wrong = torch.stack([target[b][torch.from_numpy(index[b])] for b in range(B)])
  own = types.SimpleNamespace(logit_temp=0.1)
  logits = model["compute_preds"](own, context, target, wrong.permute(2, 0, 1, 3))
  nats = torch.nn.functional.cross_entropy(
    logits.flatten(1).T, torch.zeros(B * M, dtype=int), reduction="none"
  ).view(B, M)
  nats.sum().backward()
  return {
    "contrast/context": context.detach(), "contrast/target": target.detach(),
    "contrast/codes": codes, "contrast/index": index, "contrast/nats": nats.detach(),
    "contrast/others": torch.isfinite(logits[1:]).sum(0).view(B, M),
    "contrast/grad_context": context.grad, "contrast/grad_target": target.grad,
  }  # fmt: skip


def negatives(model: dict[str, Any]) -> dict[str, Any]:
  """How often each of M frames was drawn for each other one."""
  torch.manual_seed(0)
  own = types.SimpleNamespace(n_negatives=5_000, cross_sample_negatives=0)
  _, drawn = model["sample_negatives"](own, torch.zeros(1, M, 1), M)
  pairs = np.repeat(np.arange(M), 5_000) * M + drawn[0].numpy()
  return {"negatives/counts": np.bincount(pairs, minlength=M * M).reshape(M, M)}


def masks(first: pathlib.Path) -> dict[str, Any]:
  """Masks of FRAMES frames: how often each is hidden, and how many together."""
  draw = functions(first / "data/data_utils.py", ["compute_mask_indices"])
  mask = draw["compute_mask_indices"](
    (ROWS, FRAMES), None, 0.65, 10, min_masks=2, require_same_masks=False,
    seed=1, epoch=1, indices=torch.arange(ROWS),
  )  # fmt: skip
  hidden = np.bincount(mask.sum(1), minlength=FRAMES + 1)
  return {"masks/share": mask.mean(0), "masks/hidden": hidden}


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  given = sys.argv[3] if len(sys.argv) > 3 else str(here / "wav2vec2.npz")
  main(sys.argv[1], sys.argv[2], given)
