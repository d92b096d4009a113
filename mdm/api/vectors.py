"""`mdm encode`: a file of vectors, of files of texts or of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdm.api.model import load
from mdm.evaluation.verbs import check_verb
from mdm.methods.image.base import ImageMethod


def encode(
  run: str | Path,
  files: Sequence[str | Path] = (),
  *,
  texts: Sequence[str] = (),
  out: str | Path,
  batch: int | None = None,
) -> dict[str, Any]:
  """Writes a vector of each text or image as a float32 array [b d], in their order.

  Args:
    run: of a model that gives vectors, or its imported or exported weights.
    files: texts in UTF-8, each line one, empty ones too; or images.
    texts: texts themselves, after those of files.
    out: a .npy file, written whole or not at all.
    batch: encoded at once; see `Model.encode`.

  Raises:
    ValueError: nothing to encode, a file that cannot be read, another suffix of `out`,
      texts for a model of images; see `Model.encode` for the rest.
  """
  out = Path(out)
  if out.suffix != ".npy":
    raise ValueError(f"--out {out} must end in .npy; that is what it will be.")
  model = load(run)
  check_verb(model.method, "encode")
  given: list[Any] = list(files)
  if isinstance(model.method, ImageMethod):
    if texts:
      raise ValueError(f"{type(model.method).__name__} encodes images, not texts.")
  else:
    given = [line for file in files for line in read_lines(file)] + list(texts)
  if not given:
    raise ValueError("nothing to encode; name files, or give --text.")
  vectors = model.encode(given, batch=batch)
  out.parent.mkdir(parents=True, exist_ok=True)
  part = out.with_name(out.name + ".part")
  with part.open("wb") as file:
    np.save(file, vectors, allow_pickle=False)
  part.replace(out)
  return {"out": str(out), "count": len(vectors), "width": vectors.shape[1]}


def read_lines(path: str | Path) -> list[str]:
  """The lines of a text in UTF-8, without their ends.

  Raises:
    ValueError: there is no such file, or it is no UTF-8.
  """
  try:
    text = Path(path).read_text(encoding="utf-8")
  except OSError as error:
    raise ValueError(f"{path} cannot be read ({error.strerror}).") from None
  except UnicodeDecodeError:
    raise ValueError(f"{path} is no text in UTF-8.") from None
  return text.removesuffix("\n").split("\n") if text else []
