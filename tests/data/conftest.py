"""A small rendered data set, built once for the tests that read one."""

import numpy as np
import pytest
from PIL import Image

from mdm.data import datasets


@pytest.fixture(scope="session")
def section(tmp_path_factory):
  """A `data` section whose data set is built: 150 training, 20 test images."""
  section = {
    "name": "rendered_words",
    "data_dir": str(tmp_path_factory.mktemp("built")),
    "num_train": 150,
    "num_test": 20,
    "num_words": 500,
  }
  datasets.prepare(**section, num_workers=1)
  return section


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
  """A folder of 60 images of four shapes whose grey is their number, with labels."""
  folder = tmp_path_factory.mktemp("photos")
  widths = [32, 64, 96, 128]
  for k in range(60):
    pixels = np.full((32, widths[k % 7 % 4]), k, np.uint8)
    Image.fromarray(pixels).save(folder / f"{k:02d}.png")
  lines = [f"{k:02d}.png word{k}" for k in range(60)]
  (folder / "labels.txt").write_text("\n".join(lines))
  return folder
