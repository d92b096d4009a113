"""TFDS builder of CIFAR-10 from image files in a folder of the user's.

The folder holds `cifar10_train.tar.xz`, or its contents: `train/CLASS/NAME.jpg` (or
.png). A `cifar10_test.tar.xz` or `test` folder is read alike. A tenth of the training
images, by hash of the file's name, is the validation split. The features are those of
TFDS's own `cifar10`.

Source: Learning Multiple Layers of Features from Tiny Images, Krizhevsky, 2009.
"""

import pathlib
import tarfile
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from mdm.data.held_out import is_held_out

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
           "ship", "truck")  # fmt: skip
ARCHIVE = "cifar10_{part}.tar.xz"
REMEDY = (
  "set data.manual_dir to the folder with cifar10_train.tar.xz, or with its "
  "train/CLASS/NAME.jpg (https://www.cs.toronto.edu/~kriz/cifar.html)."
)
VALIDATION_SHARE = 0.1

Row = tuple[str, bytes]  # file, encoded image


class Cifar10Files(  # TFDS has a builder of this name
  tfds.core.GeneratorBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Small photographs of ten classes."""

  name = "cifar10"
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 (the name is TFDS's)
  MANUAL_DOWNLOAD_INSTRUCTIONS = REMEDY

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=type(self).__doc__,
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="jpeg"),
          "label": tfds.features.ClassLabel(names=CLASSES),
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    folder = pathlib.Path(dl_manager.manual_dir)
    train = read_part(folder, "train")
    test = read_part(folder, "test") if has_part(folder, "test") else []
    held = [is_held_out(name, share=VALIDATION_SHARE) for name, _ in train]
    splits = {
      "train": [r for r, h in zip(train, held, strict=True) if not h],
      "validation": [r for r, h in zip(train, held, strict=True) if h],
      "test": test,
    }
    return {s: self._generate_examples(rows) for s, rows in splits.items() if rows}

  def _generate_examples(self, rows: list[Row]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, (name, image) in enumerate(rows):
      yield number, {"id": name, "image": image, "label": name.split("/")[-2]}


def has_part(folder: pathlib.Path, part: str) -> bool:
  """Whether the archive of a part is there, or its contents."""
  return (folder / part).is_dir() or (folder / ARCHIVE.format(part=part)).is_file()


def check_manual(folder: str | None) -> None:
  """Raises FileNotFoundError where the image files are not."""
  if folder is None or not has_part(pathlib.Path(folder).expanduser(), "train"):
    raise FileNotFoundError(f"data.manual_dir = {folder!r} has no CIFAR-10: {REMEDY}")


def read_part(folder: pathlib.Path, part: str) -> list[Row]:
  """Files of a part with their bytes, sorted by name.

  Raises:
    ValueError: the archive cannot be read, or a file lies in no folder of a class.
  """
  place, archive = folder / part, folder / ARCHIVE.format(part=part)
  if place.is_dir():
    files = [p for p in place.rglob("*") if p.suffix in (".jpg", ".png")]
    rows = [(str(p.relative_to(folder)), p.read_bytes()) for p in files]
  else:
    rows = _read_archive(archive)
  wrong = [name for name, _ in rows if f"/{name}".split("/")[-2] not in CLASSES]
  if wrong or not rows:
    found = wrong[0] if wrong else "no image"
    raise ValueError(
      f"{place} or {archive.name} has {found!r}; images lie in a folder by the name "
      f"of its class ({', '.join(CLASSES)})."
    )
  return sorted(rows)


def _read_archive(archive: pathlib.Path) -> list[Row]:
  """Image files of an archive, read front to back in one pass."""
  rows = []
  try:
    with tarfile.open(archive, "r|*") as tar:
      for member in tar:
        stream = tar.extractfile(member) if member.isfile() else None
        if stream is not None and member.name.endswith((".jpg", ".png")):
          rows.append((member.name.removeprefix("./"), stream.read()))
  except (tarfile.TarError, EOFError, OSError) as error:
    raise ValueError(
      f"{archive} cannot be read as the archive of images ({error}); fetch it again."
    ) from error
  return rows
