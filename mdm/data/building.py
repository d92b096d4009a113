"""Builds data sets once, and refuses to read a damaged one.

A data set is built in a folder with another name and renamed when it is whole, so a
half-built one is never taken for complete; what an interrupted build left is removed by
the next. A manifest with length and checksum of every file is written last and checked
whenever the data set is opened.
"""

import contextlib
import importlib
import json
import logging
import pathlib
import shutil
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from mdm.data import published
from mdm.data.image_settings import ImageSettings
from mdm.data.settings import DataSettings, WordSettings
from mdm.data.speech_settings import SpeechSettings

MANIFEST = "checksums.json"
CHECKED_BYTES = 4 << 30  # larger data sets are checked by length alone, to open at once
MANUAL = (
  "iiit5k",
  "cifar10",
  "omniglot",
  "spoken_digits",
  "asterisk_prompts",
)  # built from files of the user's
CHUNK = 1 << 22  # bytes of a file that are read at once


def prepare(
  settings: DataSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder.

  Args:
    force: build it anew.
    progress: show bars.
    num_workers: processes that render; None for one per core.

  Raises:
    FileNotFoundError, ValueError: what it is built from is missing.
  """
  with lock(settings.home() / settings.name):
    builder = make_builder(settings, num_workers)
    folder = pathlib.Path(builder.data_path)
    if force or not (folder / "dataset_info.json").is_file():
      _discard(folder)
      _build(builder, settings, progress)
    if not (folder / MANIFEST).is_file():
      write_manifest(folder)
  return folder


def make_builder(settings: DataSettings, num_workers: int | None = None) -> Any:
  """The TFDS builder of the settings; imports TFDS."""
  home = str(settings.home())
  logging.getLogger("absl").addFilter(_drop_custom)
  if isinstance(settings, WordSettings) and settings.name == "rendered_words":
    from mdm.data.builders import rendered_words

    config = rendered_words.make_config(settings, num_workers)
    return rendered_words.RenderedWords(
      data_dir=home, config=config, file_format="array_record"
    )
  if isinstance(settings, ImageSettings) and settings.name == "tfds":
    return published.make_builder(str(settings.tfds_name), home)
  if isinstance(settings, SpeechSettings):
    return _make_speech(settings, home)
  from mdm.data.builders import cifar10, iiit5k, omniglot

  kinds = {
    "iiit5k": iiit5k.Iiit5k,
    "cifar10": cifar10.Cifar10Files,
    "omniglot": omniglot.OmniglotFiles,
  }
  return kinds[settings.name](data_dir=home, file_format="array_record")


def _make_speech(settings: SpeechSettings, home: str) -> Any:
  """The TFDS builder of recordings; its configuration is named after the settings."""
  if settings.name == "tfds_speech":
    return published.make_builder(str(settings.tfds_name), home)
  module = importlib.import_module(f"mdm.data.builders.{settings.name}")
  config = module.make_config(settings)
  return module.BUILDER(data_dir=home, config=config, file_format="array_record")


def open_builder(settings: DataSettings) -> Any:
  """The builder of a data set that is there and whole.

  Raises:
    ValueError: it is not built yet, or a file of it is damaged.
  """
  builder = make_builder(settings)
  folder = pathlib.Path(builder.data_path)
  if not (folder / "dataset_info.json").is_file():
    command = settings.build_command()
    raise ValueError(f"data set {folder} is not built; run `{command}`.")
  check_files(folder, settings.build_command(force=True))
  return builder


def check_files(folder: pathlib.Path, command: str) -> None:
  """Compares every file with the manifest.

  Raises:
    ValueError: naming the first file that is missing, cut off or changed.
  """
  try:
    manifest: Mapping[str, list[int]] = json.loads((folder / MANIFEST).read_text())
    total = sum(length for length, _ in manifest.values())
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise ValueError(
      f"data set {folder} has no readable {MANIFEST}; rebuild it with `{command}`."
    ) from error
  for name, (length, expected) in sorted(manifest.items()):
    path = folder / name
    if not path.is_file():
      raise ValueError(f"data file {path} is missing; rebuild it with `{command}`.")
    found = path.stat().st_size
    if found != length:
      raise ValueError(
        f"data file {path} has {found} bytes instead of {length}; rebuild it with "
        f"`{command}`."
      )
    if total <= CHECKED_BYTES and checksum(path) != expected:
      raise ValueError(
        f"data file {path} is corrupt (its checksum is wrong); rebuild it with "
        f"`{command}`."
      )


def _build(builder: Any, settings: DataSettings, progress: bool) -> None:
  """Runs the TFDS builder, without any network address."""
  import tensorflow_datasets as tfds

  (tfds.enable_progress_bar if progress else tfds.disable_progress_bar)()
  manual = getattr(settings, "manual_dir", None)
  if settings.name in MANUAL:
    importlib.import_module(f"mdm.data.builders.{settings.name}").check_manual(manual)
  config = tfds.download.DownloadConfig(
    manual_dir=str(pathlib.Path(manual).expanduser()) if manual else None,
    try_download_gcs=False,
  )
  # TFDS prints where it writes; standard output belongs to whoever called.
  quiet = contextlib.redirect_stdout(sys.stderr if progress else _Silence())
  with quiet, published.explain_failures(builder.name):
    builder.download_and_prepare(download_config=config)


def _drop_custom(record: logging.LogRecord) -> bool:
  """Lets all messages pass but the one that repeats a whole configuration."""
  return "Using custom data configuration" not in str(record.msg)


class _Silence:
  """A stream that drops what is written."""

  def write(self, text: str) -> int:
    """Drops the text."""
    return len(text)

  def flush(self) -> None:
    """Nothing is kept, so nothing is left to write."""


def _discard(folder: pathlib.Path) -> None:
  """Removes an incomplete data set: what TFDS left aside, and a folder without info."""
  shutil.rmtree(folder, ignore_errors=True)
  for left in folder.parent.glob("*incomplete*"):
    shutil.rmtree(left, ignore_errors=True)


def write_manifest(folder: pathlib.Path) -> None:
  """Writes length and checksum of every file, under another name until it is whole."""
  files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
  files = [p for p in files if not p.name.startswith(".")]
  manifest = {p.name: [p.stat().st_size, checksum(p)] for p in files}
  aside = folder / f".{MANIFEST}"
  aside.write_text(json.dumps(manifest, indent=1))
  aside.replace(folder / MANIFEST)


def checksum(path: pathlib.Path) -> int:
  """CRC-32, a gigabyte a second."""
  value = 0
  with path.open("rb") as file:
    while block := file.read(CHUNK):
      value = zlib.crc32(block, value)
  return value


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[None]:
  """One builder at a time; the lock ends with the process, however it ends."""
  folder.mkdir(parents=True, exist_ok=True)
  try:
    import fcntl
  except ImportError:  # not a POSIX system: no lock, as a lone builder needs none
    yield
    return
  with (folder / ".lock").open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
