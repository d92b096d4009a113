"""Builds pages of every public name from its docstring: `python launch/docs.py DIR`.

Needs the extra `docs` of setup.py. What is wrong is told and ends it with an error: a
name in `__all__` that leads nowhere, an annotation that cannot be resolved, a module
that cannot be imported. Bases from other libraries are theirs to mend.
"""

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import mdm

NOT_OURS = ("!.*in_torch", "!.*__main__")  # run by PyTorch alone; a program
THEIRS = ("in_torch", "utils.VersionOrStr")  # of a base in tensorflow_datasets


def build_docs(folder: Path) -> tuple[list[Path], list[str]]:
  """Writes the pages into a folder; gives them, and what is wrong in our docstrings."""
  import pdoc
  import pdoc.render

  for name in mdm.__all__:  # loaded when first used, which pdoc does not do
    setattr(mdm, name, getattr(mdm, name))
  pdoc.render.configure(docformat="google", footer_text=f"mdm {mdm.__version__}")
  with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    pdoc.pdoc("mdm", *list_modules(), output_directory=folder)
  texts = sorted({str(one.message) for one in told if "mdm" in str(one.message)})
  wrong = [text for text in texts if not any(part in text for part in THEIRS)]
  return sorted(folder.rglob("*.html")), wrong


def list_modules() -> list[str]:
  """What is documented: rooms, whose modules follow unless `__all__` names others."""
  found = []
  for room in pkgutil.iter_modules(mdm.__path__, "mdm."):
    found.append(room.name)
    module = importlib.import_module(room.name)
    if room.ispkg and hasattr(module, "__all__"):
      inside = pkgutil.iter_modules(module.__path__, f"{room.name}.")
      found += [inner.name for inner in inside]
  return [*found, *NOT_OURS]


def main() -> int:
  """The command."""
  if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    print("usage: python launch/docs.py DIR", file=sys.stderr)
    return 2
  pages, wrong = build_docs(Path(sys.argv[1]))
  for line in wrong:
    print(f"docs: {line}", file=sys.stderr)
  print(f"{len(pages)} pages; open {Path(sys.argv[1]) / 'index.html'}")
  return 1 if wrong else 0


if __name__ == "__main__":
  sys.exit(main())
