"""Writes randaugment.npz: what the original's operations make of a small image.

  python tests/parity/make_randaugment.py TIMM [OUTPUT]

TIMM is the package's folder in timm 0.3.2, which MAE needs, of which two files are
read. The interpreter needs NumPy and Pillow (tried: 9.5; newer ones refuse to posterize
to no bits), not torch. Nothing of it is needed to run the tests, which read the
numbers. The keys are listed in README.md beside this file.
"""

import importlib.util
import pathlib
import random
import sys
import types
from unittest import mock

import numpy as np
from PIL import Image

POLICY = "rand-m9-mstd0.5-inc1"
ROWS, COLUMNS, MAGNITUDES, DRAWS = 20, 28, (3.1, 7.4, 9.0, 10.0), 20_000
SIGNED = {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3}  # greatest amounts


def main(package: str, output: str) -> None:
  folder = pathlib.Path(package) / "data"
  original, constants = load(folder / "auto_augment.py"), load(folder / "constants.py")
  mean = tuple(round(255 * x) for x in constants.IMAGENET_DEFAULT_MEAN)
  settings = {"img_mean": mean, "interpolation": Image.Resampling.BICUBIC}
  policy = original.rand_augment_transform(POLICY, settings)
  image = make_image()
  numbers = {"input/image": image, "input/magnitudes": np.array(MAGNITUDES)}
  numbers["input/fill"] = np.array(mean)
  names = original._RAND_INCREASING_TRANSFORMS
  numbers["law/names"] = np.array(names)
  for name, operation in zip(names, policy.ops, strict=True):
    numbers[f"output/{name}"] = np.stack(
      [[apply(operation, image, m, u) for u in (0.0, 1.0)] for m in MAGNITUDES]
    )
  policy = original.rand_augment_transform(POLICY, settings)
  numbers |= {f"law/{name}": array for name, array in draw(policy).items()}
  np.savez_compressed(output, **numbers)
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def make_image() -> np.ndarray:
  """Smooth colours with some noise, none of them over the whole range."""
  rng = np.random.default_rng(0)
  coarse = Image.fromarray(rng.integers(30, 220, (4, 5, 3), np.uint8))
  smooth = np.asarray(coarse.resize((COLUMNS, ROWS), Image.Resampling.BICUBIC), float)
  noisy = smooth + rng.normal(0, 4, smooth.shape)
  return noisy.clip(12, 243).astype(np.uint8)


def apply(
  operation: object, image: np.ndarray, magnitude: float, u: float
) -> np.ndarray:
  """The image after an operation of this very magnitude; u = 1 turns the sign over."""
  operation.prob, operation.magnitude, operation.magnitude_std = 1.0, magnitude, 0.0
  with mock.patch.object(random, "random", return_value=u):
    return np.asarray(operation(Image.fromarray(image)))


def draw(policy: object) -> dict[str, np.ndarray]:
  """Which operations the policy applies, how often, and how strongly."""
  random.seed(0)
  np.random.seed(0)
  seen: list[list[tuple[int, float]]] = []
  for kind, operation in enumerate(policy.ops):
    operation.aug_fn = lambda image, *amount, kind=kind, **_: (
      seen[-1].append((kind, *amount)) or image
    )
  image = Image.new("RGB", (1, 1))
  for _ in range(DRAWS):
    seen.append([])
    policy(image)
  kinds = [change[0] for changes in seen for change in changes]
  greatest = dict(zip((3, 11, 12), SIGNED.values(), strict=True))
  levels = np.array(
    [c[1] / greatest[c[0]] * 10 for row in seen for c in row if c[0] in greatest]
  )
  return {
    "draws": np.array(DRAWS),
    "num_applied": np.bincount([len(changes) for changes in seen]),
    "count": np.bincount(kinds),
    "same_twice": np.array(sum(len(c) == 2 and c[0][0] == c[1][0] for c in seen)),
    "negative": np.array((levels < 0).mean()),
    "magnitude": np.quantile(np.abs(levels), np.linspace(0, 1, 21)),
  }


def load(path: pathlib.Path) -> types.ModuleType:
  """A module by its file, without what is around it."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(here / "randaugment.npz"))
