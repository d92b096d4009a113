"""Folders of ArrayRecord files that TFDS built, read without their builders.

A builder of TFDS that has an Audio feature imports TensorFlow to be made; its folder
says all that reading needs: `features.json` and `dataset_info.json`. Audio is read as
it is stored, as whole numbers or, where it was built to be decoded late, as the bytes
of a file.

Source: TensorFlow Datasets 4.9, `tfds.builder_from_directory` and its Audio feature.
"""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import grain

TENSOR = "tensorflow_datasets.core.features.tensor_feature.Tensor"
TEXT = "tensorflow_datasets.core.features.text_feature.Text"
VERSION = re.compile(r"\d+\.\d+\.\d+")


class ArrayFolder:
  """A built data set by its folder.

  Attributes:
    features: the TFDS features of a record, audio as plain numbers or bytes.
    sizes: records of each split.
    rates: samples per second of each Audio feature that is stored as numbers.
  """

  def __init__(self, folder: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    self.folder = folder
    try:
      content = json.loads((folder / "features.json").read_text())
      info = json.loads((folder / "dataset_info.json").read_text())
      self.rates: dict[str, int] = {}
      self.features: Any = tfds.features.FeaturesDict.from_json(self._plain(content))
      self.features.load_metadata(str(folder), feature_name=None)
      self.sizes = {
        split["name"]: sum(int(n) for n in split.get("shardLengths", ()))
        for split in info["splits"]
      }
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise ValueError(
        f"{folder} cannot be read as a data set of TFDS ({error}); build it again."
      ) from error

  def open_split(self, split: str) -> "ArraySplit":
    """The records of a split, or of several joined by "+".

    Raises:
      ValueError: there is no such split, or its files are of another format.
    """
    paths: list[str] = []
    for part in split.split("+"):
      if part not in self.sizes:
        raise ValueError(
          f"data set {self.folder} has no split {part!r}; it has "
          f"{', '.join(self.sizes)}."
        )
      found = sorted(map(str, self.folder.glob(f"*-{part}.array_record*")))
      if self.sizes[part] and not found:
        raise ValueError(
          f"data set {self.folder} has no ArrayRecord files of {part!r}; build it with "
          "TFDS's file_format='array_record'."
        )
      paths += found
    return ArraySplit(paths, self.features)

  def _plain(self, content: Mapping[str, Any]) -> dict[str, Any]:
    """The description of features with Audio as what is stored."""
    features = {}
    for name, feature in content["featuresDict"]["features"].items():
      audio = feature.get("audio")
      if audio is None:
        features[name] = feature
      elif audio.get("lazyDecode"):
        features[name] = {"pythonClassName": TEXT, "text": {}}
      else:
        self.rates[name] = int(audio.get("sampleRate") or 0)
        stored = {k: audio[k] for k in ("shape", "dtype")} | {"encoding": "none"}
        features[name] = {"pythonClassName": TENSOR, "tensor": stored}
    return {**content, "featuresDict": {"features": features}}


class ArraySplit:
  """Records of some files, numbered from 0."""

  def __init__(self, paths: Sequence[str], features: Any) -> None:
    self._source = grain.sources.ArrayRecordDataSource(paths) if paths else []
    self._features = features

  def __len__(self) -> int:
    return len(self._source)

  def read(self, indices: Sequence[int]) -> list[Mapping[str, Any]]:
    """The records of these numbers; texts as bytes."""
    found = [self._source[int(k)] for k in indices]
    return [self._features.deserialize_example_np(content) for content in found]


def find_folder(home: pathlib.Path, name: str) -> pathlib.Path | None:
  """The folder of a data set by its name in TFDS; None where it is not built.

  Args:
    home: where data sets are built.
    name: "NAME", "NAME/CONFIG", either with ":VERSION"; without it the newest one.
  """
  name, _, version = name.partition(":")
  folders = [
    path.parent
    for path in (home / name).glob(f"{'*/' * ('/' not in name)}*/dataset_info.json")
  ]
  folders += [path.parent for path in (home / name).glob("*/dataset_info.json")]
  fitting = [
    f for f in folders if VERSION.fullmatch(f.name) and version in ("", f.name)
  ]
  return max(fitting, key=_version, default=None)


def _version(folder: pathlib.Path) -> tuple[list[int], str]:
  """What orders folders: their versions, then their paths."""
  return [int(part) for part in folder.name.split(".")], str(folder)
