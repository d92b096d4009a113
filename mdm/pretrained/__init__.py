"""Weights that come with the package, one folder each, found by its name.

A folder holds `model.safetensors`, `config.json` and a card, `README.md`: what
`mdm export` writes.
"""

import difflib
from pathlib import Path

HOME = Path(__file__).parent
WEIGHTS = "model.safetensors"


def available() -> list[str]:
  """Names of the models that are there."""
  return sorted(path.parent.name for path in HOME.glob(f"*/{WEIGHTS}"))


def find(name: str) -> Path:
  """The folder of a model.

  Raises:
    ValueError: there is none of this name; the error lists the known ones.
  """
  known = available()
  if name in known:
    return HOME / name
  near = difflib.get_close_matches(name, known, n=1)
  hint = f"did you mean {near[0]}? " if near else ""
  raise ValueError(
    f"{name} is no run (it has no config.json) and no model that comes with mdm; "
    f"{hint}known: {', '.join(known) or 'none'}. Train one first, or correct the name."
  )
