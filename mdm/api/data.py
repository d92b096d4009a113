"""Data sets by name or by config: list, build, show; and a check of single images."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mdm.training import config


def list_data() -> dict[str, str]:
  """The data sets that can be built, with a line on each."""
  from mdm.data import datasets

  return datasets.available()


def build_data(
  name: str, *, overrides: Iterable[str] = (), force: bool = False
) -> dict[str, Any]:
  """Builds a data set, or that of a config, unless it is there already.

  Args:
    name: a data set's name, or a config's path.
    overrides: "data.key=value" each.
    force: whether what is there is built again.
  """
  from mdm.data import datasets

  began = time.monotonic()
  settings = _data_config(name, overrides)
  folder = datasets.prepare(**settings, force=force, progress=True)
  counts = {f"examples/{k}": n for k, n in datasets.count_examples(settings).items()}
  return {"folder": str(folder), **counts, "time/build_s": time.monotonic() - began}


def show_data(
  name: str, out: str | Path, *, split: str = "train", overrides: Iterable[str] = ()
) -> None:
  """Writes a sheet of a data set's examples to a PNG file."""
  from mdm.data import datasets

  dataset = datasets.load(_data_config(name, overrides), split)
  datasets.contact_sheet(dataset, 48).save(out)


def check_image(path: str | Path) -> None:
  """Raises ValueError, naming path and remedy, for an image that cannot be read."""
  from mdm.data import images as data_images

  data_images.read_image(path)


def _data_config(name: str, overrides: Iterable[str]) -> dict[str, Any]:
  if name.endswith((".py", ".json")) or Path(name).is_dir():
    return config.load(name, overrides).data.to_dict()
  cfg = config.base()
  cfg.data = {"name": name}
  for override in overrides:
    config.apply_override(cfg, override)
  return cfg.data.to_dict()
