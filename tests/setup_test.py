"""What a wheel holds: the modules, the weights, and every config by its name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools", reason="builds the package with it")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """The folder that a wheel would be packed from."""
  folder = tmp_path_factory.mktemp("built")
  command = [sys.executable, "setup.py", "-q", "build", "--build-base", folder]
  subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
  return folder / "lib"


def below(folder, suffix):
  """Paths of files below a folder."""
  found = folder.rglob(f"*{suffix}")
  return {str(path.relative_to(folder)) for path in found if path.is_file()}


def test_a_wheel_holds_every_module(built):
  ours = {name for name in below(built / "mdm", ".py") if name[:8] != "configs/"}
  assert ours == below(ROOT / "mdm", ".py")


def test_a_wheel_holds_every_config_and_what_they_read(built):
  for suffix in (".py", ".txt"):
    assert below(built / "mdm/configs", suffix) == below(ROOT / "configs", suffix)


def test_a_wheel_holds_the_shipped_weights_bit_for_bit(built):
  names = below(ROOT / "mdm/pretrained", ".safetensors")
  assert "reader/model.safetensors" in names
  for name in names:
    there, here = built / "mdm/pretrained" / name, ROOT / "mdm/pretrained" / name
    assert there.read_bytes() == here.read_bytes()
    assert there.with_name("config.json").is_file()
    assert there.with_name("README.md").is_file()


def test_configs_are_found_by_name_far_from_a_checkout(built, tmp_path):
  code = (
    "from mdm.training import config; import mdm; print(mdm.__file__);"
    "print(config.find('diffusion/md4_chars')); config.load('image/mae_cifar10')"
  )
  environment = os.environ | {"PYTHONPATH": str(built), "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env=environment,
    check=True,
    capture_output=True,
    text=True,
  )
  module, found = done.stdout.split()
  assert module == str(built / "mdm/__init__.py")
  assert found == str(built / "mdm/configs/diffusion/md4_chars.py")
