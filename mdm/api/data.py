"""Data sets by name or by config: list, build, show, check; checks of single files."""

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
) -> list[dict[str, Any]]:
  """Writes a sheet of a data set's images to a PNG file, or gives samples of texts.

  Returns:
    Texts with their numbers of tokens, spread over the split; none where examples are
    images, which are in the file.
  """
  from mdm.data import datasets

  dataset = datasets.load(_data_config(name, overrides), split)
  if "image" not in dataset.record(0):
    return datasets.sample_texts(dataset, 8)
  datasets.contact_sheet(dataset, 48).save(out)
  return []


def check_image(path: str | Path) -> None:
  """Raises ValueError, naming path and remedy, for an image that cannot be read."""
  from mdm.data import images as data_images

  data_images.read_image(path)


def check_audio(path: str | Path) -> dict[str, Any]:
  """Rate, length and channels of a sound that can be read and is of use.

  Raises:
    FileNotFoundError, ValueError: naming path and remedy: it is missing, no audio, cut
      off, silent, clipped, or holds NaN.
  """
  from mdm.data import audio

  found = audio.measure_audio(path)
  sound = audio.read_audio(path)
  audio.check_samples(sound.samples, str(path))
  return {
    "audio": str(path),
    "rate": sound.rate,
    "seconds": round(found.seconds, 3),
    "channels": found.channels,
    "readable": True,
  }


def check_data(name: str, *, overrides: Iterable[str] = ()) -> dict[str, Any]:
  """Whether a data set is whole, or a file of the user's can be read.

  Args:
    name: a built data set, a config, an image, a sound, a text (.txt), or pairs
      (.jsonl, .tsv).

  Returns:
    Counts for a report.

  Raises:
    ValueError: naming what is damaged or cannot be read, and the remedy.
  """
  from mdm.data import datasets, speech_folders
  from mdm.data.text import corpora, pairs

  path = Path(name)
  if path.suffix in pairs.SUFFIXES and path.is_file():
    return {"pairs": sum(1 for _ in pairs.read_pairs(path))}
  if path.suffix == ".txt" and path.is_file():
    return {"characters": len(corpora.read_utf8(path))}
  if name in datasets.available() or path.suffix in (".py", ".json") or path.is_dir():
    counts = datasets.count_examples(_data_config(name, overrides))
    return {f"examples/{split}": count for split, count in counts.items()}
  if path.suffix.lower() in speech_folders.SUFFIXES:
    return check_audio(path)
  check_image(name)
  return {"image": name, "readable": True}


def _data_config(name: str, overrides: Iterable[str]) -> dict[str, Any]:
  if name.endswith((".py", ".json")) or Path(name).is_dir():
    return config.load(name, overrides).data.to_dict()
  cfg = config.base()
  cfg.data = {"name": name}
  for override in overrides:
    config.apply_override(cfg, override)
  return cfg.data.to_dict()
