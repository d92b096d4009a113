"""Other readers on the same images, where they are installed.

Each gets pictures as they are, uint8 [y x c] of any size, and gives the words in them.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ReadImages = Callable[[Sequence[np.ndarray]], list[str]]
PAGE_END = "\f"
MARGIN, SCALE = 12, 2


def read_with_tesseract(
  images: Iterable[np.ndarray],
  *,
  margin: int = MARGIN,
  scale: int = SCALE,
  processes: int = 1,
) -> list[str] | None:
  """Words read by tesseract in single-word mode; None if it is not on this machine.

  One process reads a whole list, so that its start is paid for once; its own threads
  only slow it down on pictures this small and are switched off.

  Args:
    images: uint8 [y x c] each.
    margin: pixels of an image's own edge around it, which let tesseract find the line
      in a tight crop.
    scale: enlargement.
    processes: how many work at once, each on its share of the images.
  """
  if shutil.which("tesseract") is None:
    return None
  with tempfile.TemporaryDirectory() as folder:
    paths = [
      _write(image, Path(folder) / f"{i}.png", margin, scale)
      for i, image in enumerate(images)
    ]
    processes = max(1, min(processes, len(paths)))
    shares = [paths[k::processes] for k in range(processes)]
    running = [_start_tesseract(share, folder, k) for k, share in enumerate(shares)]
    found: dict[Path, str] = {}
    for share, process in zip(shares, running, strict=True):
      pages = process.communicate()[0].split(PAGE_END)
      if process.returncode or len(pages) < len(share):
        return None
      found |= zip(share, (page.strip() for page in pages), strict=False)
  return [found[path] for path in paths]


def start_tesseract_for_each(images: Iterable[np.ndarray]) -> None:
  """Reads images as wrappers of tesseract do: a process for each, its own threads."""
  with tempfile.TemporaryDirectory() as folder:
    for image in images:
      path = _write(image, Path(folder) / "image.png", 0, 1)
      subprocess.run(
        ["tesseract", str(path), "-", "--psm", "8", "-l", "eng"],
        capture_output=True,
        check=False,
      )


def open_tesseract(cores: int) -> tuple[ReadImages, str] | None:
  """Tesseract as it reads photographs best, on so many cores; and its version.

  Pictures as they are: on the IIIT5K words neither enlarging them nor a margin, other
  page modes or grey values read more of them.
  """
  if shutil.which("tesseract") is None:
    return None

  def read(images: Sequence[np.ndarray]) -> list[str]:
    """All images, shared out over one process a core."""
    found = read_with_tesseract(images, margin=0, scale=1, processes=cores)
    if found is None:
      raise ValueError("tesseract failed; see what `tesseract IMAGE - --psm 8` says.")
    return found

  told = subprocess.run(
    ["tesseract", "--version"], capture_output=True, text=True, check=False
  )
  version = re.search(r"tesseract v?(\S+)", told.stdout + told.stderr)
  return read, version[1] if version else "of unknown version"


def open_ppocr(cores: int) -> tuple[ReadImages, str] | None:
  """PP-OCRv4's recogniser (package `rapidocr-onnxruntime`) and the package's version.

  The recogniser alone, no detector. One image a batch: the package pads every image of
  a batch to the widest, and is faster without. None if it is not installed.
  """
  try:
    import rapidocr_onnxruntime as package
    from rapidocr_onnxruntime.ch_ppocr_rec import TextRecognizer
    from rapidocr_onnxruntime.utils import read_yaml
  except ImportError:  # of the package, or of OpenCV, which needs system libraries
    return None
  root = Path(str(package.__file__)).parent
  settings: dict[str, Any] = read_yaml(root / "config.yaml")["Rec"]
  settings |= {
    "model_path": str(root / settings["model_path"]),
    "rec_batch_num": 1,
    "intra_op_num_threads": cores,
    "inter_op_num_threads": 1,
  }
  recogniser = TextRecognizer(settings)

  def read(images: Sequence[np.ndarray]) -> list[str]:
    """All images, in the order of colours that OpenCV has."""
    found = recogniser([_to_bgr(image) for image in images])[0]
    return [text.strip() for text, _ in found]

  return read, importlib.metadata.version("rapidocr-onnxruntime")


def _to_bgr(image: np.ndarray) -> np.ndarray:
  """Three channels, blue first; a grey image thrice."""
  return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))[..., ::-1])


def _start_tesseract(
  paths: Sequence[Path], folder: str, number: int
) -> subprocess.Popen[str]:
  """A process that reads the listed images to its standard output, page by page."""
  listing = Path(folder) / f"list-{number}.txt"
  listing.write_text("\n".join(str(path) for path in paths))
  return subprocess.Popen(
    ["tesseract", str(listing), "-", "--psm", "8", "-l", "eng"],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    env={**os.environ, "OMP_THREAD_LIMIT": "1"},
  )


def _write(image: np.ndarray, path: Path, margin: int, scale: int) -> Path:
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  around = ((margin, margin), (margin, margin)) + ((0, 0),) * (pixels.ndim - 2)
  picture = Image.fromarray(np.pad(pixels, around, mode="edge"))
  if scale != 1:
    picture = picture.resize((picture.width * scale, picture.height * scale))
  picture.save(path, compress_level=1)
  return path
