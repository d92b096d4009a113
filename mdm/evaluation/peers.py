"""Other readers on the same images, where they are installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

PAGE_END = "\f"
MARGIN, SCALE = 12, 2


def read_with_tesseract(images: Iterable[np.ndarray]) -> list[str] | None:
  """Words read by tesseract in single-word mode; None if it is not on this machine.

  Images are doubled in size and given a margin of their own edge, which tesseract
  needs to find a line; one process reads them all.

  Args:
    images: uint8 [y x c] each.
  """
  if shutil.which("tesseract") is None:
    return None
  with tempfile.TemporaryDirectory() as folder:
    paths = [_write(image, Path(folder) / f"{i}.png") for i, image in enumerate(images)]
    listing = Path(folder) / "list.txt"
    listing.write_text("\n".join(str(path) for path in paths))
    result = subprocess.run(
      ["tesseract", str(listing), "-", "--psm", "8", "-l", "eng"],
      capture_output=True,
      text=True,
      check=False,
      env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    )
  pages = result.stdout.split(PAGE_END)
  if result.returncode or len(pages) < len(paths):
    return None
  return [page.strip() for page in pages[: len(paths)]]


def _write(image: np.ndarray, path: Path) -> Path:
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  margin = ((MARGIN, MARGIN), (MARGIN, MARGIN)) + ((0, 0),) * (pixels.ndim - 2)
  picture = Image.fromarray(np.pad(pixels, margin, mode="edge"))
  picture = picture.resize((picture.width * SCALE, picture.height * SCALE))
  picture.save(path)
  return path
