"""Eight virtual devices, shapes checked, compiled programs kept between runs.

The environment is set before anything imports jax. Shape checking comes from the test
command (`--jaxtyping-packages`), so that the package itself depends on no checker.
"""

import os
import tempfile
from pathlib import Path

CACHE = Path(tempfile.gettempdir()) / f"mdm-test-cache-{os.getuid()}"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# Programs here run for moments and compile for seconds; half of that without -O3.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import dataclasses  # noqa: E402  after the environment
import gc  # noqa: E402

import jax  # noqa: E402
import pytest  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

MAPS = Path("/proc/self/maps")
MOST_MAPS = 20_000  # Linux allows 65,530 to a process


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
  """Forgets compiled programs, each a few mappings, long before XLA has no room."""
  yield
  if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
    jax.clear_caches()
    gc.collect()


@dataclasses.dataclass(frozen=True)
class Tiny:
  """A reader trained for two steps: its config, overrides, run and an image."""

  config: Path
  overrides: tuple[str, ...]
  run: Path
  image: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
  from mdm import api

  folder = tmp_path_factory.mktemp("tiny")
  path = Path(__file__).parents[1] / "configs/diffusion/mdiff4str_tiny.py"
  overrides = (
    f"data.data_dir={folder / 'data'}",
    "data.num_train=32",
    "data.num_test=16",
    "train.steps=2",
    "train.batch=8",
    "train.log_every=1",
    "eval.words.batch=16",
  )
  api.build_data(str(path), overrides=overrides)
  api.train(path, folder / "run", overrides=overrides)
  image = folder / "word.png"
  picture = Image.new("L", (120, 40), 230)
  ImageDraw.Draw(picture).text(
    (10, 6), "word", fill=20, font=ImageFont.load_default(24)
  )
  picture.save(image)
  return Tiny(path, overrides, folder / "run", image)


@pytest.fixture(scope="session")
def tiny_pixels(tmp_path_factory):
  """A run of a pixel diffusion, trained for two steps on images of noise."""
  import numpy as np

  from mdm import api

  folder = tmp_path_factory.mktemp("tiny_pixels")
  rng = np.random.default_rng(0)
  for k, name in enumerate(["airplane", "bird"] * 20):
    place = folder / "images/train" / name
    place.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(place / f"{k:02d}.png")
  path = Path(__file__).parents[1] / "configs/diffusion/md4_cifar10.py"
  overrides = (
    f"data.data_dir={folder / 'data'}",
    f"data.manual_dir={folder / 'images'}",
    "model.network.width=16",
    "model.network.depth=1",
    "model.network.heads=2",
    "model.network.patch=8",
    "model.network.value_width=2",
    "train.steps=2",
    "train.batch=8",
    "eval={}",
  )
  api.build_data(str(path), overrides=overrides)
  api.train(path, folder / "run", overrides=overrides)
  return folder / "run"


@pytest.fixture(scope="session")
def tiny_mae(tmp_path_factory):
  """A run of a masked autoencoder, trained for four steps on images of noise."""
  import numpy as np

  from mdm import api

  folder = tmp_path_factory.mktemp("tiny_mae")
  rng = np.random.default_rng(0)
  for k, name in enumerate(["cat", "dog"] * 20):
    place = folder / "images" / name
    place.mkdir(parents=True, exist_ok=True)
    noise = rng.integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(noise).save(place / f"{k:02d}.png")
  path = Path(__file__).parents[1] / "configs/image/mae_cifar10.py"
  data = {"name": "images", "folder": f"{folder / 'images'}", "image_size": (16, 16)}
  sizes = {"width": 16, "depth": 1, "heads": 2}
  overrides = (
    f"data={data}",
    *(f"model.{n}.{k}={v}" for n in ("encoder", "decoder") for k, v in sizes.items()),
    "train.steps=4",
    "train.eval_every=2",
    "train.batch=8",
    "eval.filled.count=3",
  )
  api.train(path, folder / "run", overrides=overrides)
  return folder / "run"


@dataclasses.dataclass(frozen=True)
class TinyText:
  """A diffusion of characters and its left-to-right twin, trained for a few steps."""

  config: Path
  run: Path
  twin: Path
  text: Path


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory):
  from toys import writers

  from mdm import api

  folder = tmp_path_factory.mktemp("tiny_text")
  text, path = folder / "text.txt", folder / "config.py"
  text.write_text(writers.TEXT)
  path.write_text(writers.CONFIG.format(folder=folder))
  api.build_data(str(path))
  api.train(path, folder / "run")
  api.train(path, folder / "twin", overrides=writers.TWIN)
  return TinyText(path, folder / "run", folder / "twin", text)
