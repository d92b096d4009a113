"""The folder of a run belongs to one config, which is stored in it."""

import os
from pathlib import Path

import ml_collections

from mdm.training import config


def claim_workdir(cfg: ml_collections.ConfigDict, workdir: str | Path) -> Path:
  """Makes the run's folder and stores the config in it, or checks the one stored.

  Raises:
    ValueError: the folder belongs to another config, or cannot be written.
  """
  folder = Path(workdir)
  stored = folder / "config.json"
  try:
    theirs = config.load(stored).to_dict() if stored.exists() else cfg.to_dict()
    if found := config.differences(cfg.to_dict(), theirs):
      raise ValueError(
        f"--workdir {folder} belongs to another config ({'; '.join(found[:5])}); use "
        "another folder, or the config it was started with."
      )
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "config.json.tmp"
    temporary.write_text(config.to_json(cfg))
    os.replace(temporary, stored)
  except OSError as error:
    raise ValueError(
      f"--workdir {folder} cannot be written ({error.strerror}); name another folder."
    ) from None
  return folder
