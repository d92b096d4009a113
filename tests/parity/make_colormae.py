"""Writes colormae.npz: which patches the published ColorMAE leaves visible.

  python tests/parity/make_colormae.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github carlosh93/ColorMAE (tried:
f0ad557d3f37c9298b776da23002c40b9e846470), whose `models/utils/masking_generator.py` is
run; the interpreter needs torch, torchvision and numpy (tried: torch 2.13, torchvision
0.28). Nothing of it is needed to run the tests, which read the numbers. The keys are
listed in README.md beside this file.

Where the original cut is read off by a second run from the same random state on
patterns that number their own pixels.
"""

import importlib.util
import pathlib
import sys
import tempfile
import types

import numpy as np
import torch

PATTERNS, SIZE, GRID, RATIO, ROWS, RUNS = 3, 20, 14, 0.75, 5, 12


def main(checkout: str, output: str) -> None:
  source = load(pathlib.Path(checkout) / "models/utils/masking_generator.py")
  patterns = np.random.default_rng(0).normal(size=(PATTERNS, SIZE, SIZE))
  with tempfile.TemporaryDirectory() as folder:
    path = str(pathlib.Path(folder) / "green.npz")
    np.savez(path, patterns.astype(np.float32))
    original = source.ColorMasking(GRID, RATIO, path)
  found = [run(original, seed) for seed in range(RUNS)]
  numbers = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
  flips = numbers["crop/flips_rows"] + 2 * numbers["crop/flips_columns"]
  assert set(flips) == {0, 1, 2, 3}, "some flip was never drawn"
  numbers["input/patterns"] = patterns.astype(np.float32)
  np.savez_compressed(output, **numbers)
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def load(path: pathlib.Path) -> types.ModuleType:
  """The original's module by itself; it draws with matplotlib only where asked."""
  for name in ("matplotlib", "matplotlib.pyplot"):
    sys.modules.setdefault(name, types.ModuleType(name))
  spec = importlib.util.spec_from_file_location("masking_generator", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def run(original: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
  """One batch of masks, and where its windows were cut."""
  torch.manual_seed(seed)
  windows = original.extract_windows(ROWS)
  mask, _, keep = original.color_noise_mask(windows)

  patterns, steps = original.image_tensor, original.trans_sequence.transforms
  places = torch.arange(PATTERNS * SIZE * SIZE).reshape(PATTERNS, SIZE, SIZE)
  original.image_tensor = places
  original.trans_sequence.transforms = steps[:-1]  # all but the division
  torch.manual_seed(seed)
  cut = original.extract_windows(ROWS).numpy()  # b y x
  original.image_tensor, original.trans_sequence.transforms = patterns, steps
  chosen = patterns.flatten()[torch.from_numpy(cut)]
  assert (chosen.amax((1, 2)) > 0).all(), "dividing by a negative maximum turns order"
  return {
    "crop/pattern": (cut[:, 0, 0] // SIZE**2).astype(np.uint8),
    "crop/top": (cut.min((1, 2)) % SIZE**2 // SIZE).astype(np.uint8),
    "crop/left": (cut.min((1, 2)) % SIZE).astype(np.uint8),
    "crop/flips_rows": cut[:, 0, 0] > cut[:, -1, 0],
    "crop/flips_columns": cut[:, 0, 0] > cut[:, 0, -1],
    "output/mask": mask.numpy() == 1,
    "output/keep": keep.numpy().astype(np.uint8),
  }


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "colormae.npz"))
