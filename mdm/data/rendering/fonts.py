"""Finds text fonts in installed Python packages and folders, and holds families out.

Packages that are searched: matplotlib, every `font-*` and every `*-fonts` distribution.
A font is usable when it draws each needed character and draws them differently; symbol,
mathematical and icon fonts fail this or are known by name. Fonts that differ only in
weight, slant or width form one family, and a family is never split between training
and test.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import string
from collections.abc import Iterable, Sequence
from importlib import metadata

from PIL import ImageFont

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
ALIKE = ("0oO", "1lI", "5sS", "2zZ")  # drawn alike in some good fonts
MAX_BYTES = 4_000_000  # larger files are East Asian; their Latin letters are borrowed
SUFFIXES = (".ttf", ".otf")
SYSTEM_FOLDERS = (
  "/usr/share/fonts",
  "/usr/local/share/fonts",
  "~/.fonts",
  "~/.local/share/fonts",
  "/Library/Fonts",
  "C:/Windows/Fonts",
)
_NO_TEXT = re.compile(
  r"awesome|brands|dingbat|emoji|icon|lastresort|math|symbol|nonuni|stixsiz"
  r"|^cm(ex|mi|sy)",
  re.IGNORECASE,
)
_VARIANT = re.compile(
  r"\b(thin|hairline|extra|ultra|semi|demi|light|regular|book|medium|bold|black|heavy"
  r"|italic|oblique|condensed|narrow|mono|display|text|caption|pro|plus|sc|one|\d+)\b"
)


@dataclasses.dataclass(frozen=True, order=True)
class Font:
  """One style of a family, in a file."""

  family: str
  style: str
  path: str


def find_fonts(
  folder: str | os.PathLike[str] | None = None,
  *,
  characters: str = LETTERS_AND_DIGITS,
  system: bool = False,
  packages: bool = True,
) -> tuple[Font, ...]:
  """Usable fonts, each style once, ordered by family and style.

  Args:
    folder: searched as well, with its subfolders.
    characters: what a font must be able to draw.
    system: search the operating system's font folders too.
    packages: search installed Python packages.

  Raises:
    FileNotFoundError: `folder` does not exist.
    ValueError: fewer than two families are usable, so none can be held out.
  """
  files = list(_package_files()) if packages else []
  folders = [folder] if folder is not None else []
  folders += [os.path.expanduser(f) for f in SYSTEM_FOLDERS] if system else []
  if folder is not None and not pathlib.Path(folder).is_dir():
    raise FileNotFoundError(
      f"data.fonts_dir = {str(folder)!r} is no folder; give one that holds "
      f"{' or '.join(SUFFIXES)} files, or None for the fonts of installed packages."
    )
  for place in folders:
    files += _files_below(pathlib.Path(place))
  found: dict[tuple[str, str], Font] = {}
  for path in sorted(files, key=lambda p: (p.name, str(p))):
    font = _open_usable(str(path), characters)
    if font is not None:
      found.setdefault((font.family, font.style), font)
  if len({family for family, _ in found}) < 2:
    raise ValueError(
      f"{len(found)} usable fonts in {len(files)} font files; rendering needs at least "
      "two families, one of them held out. Install fonts with `pip install mdm[data]` "
      "or set data.fonts_dir to a folder with .ttf or .otf files."
    )
  return tuple(sorted(found.values()))


def split_fonts(
  fonts: Sequence[Font], *, share: float = 0.2, seed: int = 0
) -> tuple[tuple[Font, ...], tuple[Font, ...]]:
  """`(train, test)`: about `share` of the families, at least one, are held out.

  Families are ranked by a hash of seed and name, so the choice depends on nothing else.
  """
  families = sorted({f.family for f in fonts}, key=lambda f: _digest(f"{seed}:{f}"))
  count = min(max(1, round(share * len(families))), len(families) - 1)
  held = set(families[:count])
  return (
    tuple(f for f in fonts if f.family not in held),
    tuple(f for f in fonts if f.family in held),
  )


def family_key(name: str) -> str:
  """The family without words for weight, width, slant or edition, in lower case."""
  lower = re.sub(r"[-_]", " ", name.lower()).strip()
  if re.fullmatch(r"cm[a-z]+\d+", lower):
    return "computer modern"
  return " ".join(_VARIANT.sub(" ", lower).split()) or lower


def _package_files() -> Iterable[pathlib.Path]:
  """Font files of matplotlib and of distributions named `font-*` or `*-fonts`."""
  for distribution in metadata.distributions():
    name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
    if name == "matplotlib" or name.startswith("font-") or name.endswith("-fonts"):
      for file in distribution.files or ():
        if file.suffix.lower() in SUFFIXES:
          yield pathlib.Path(str(distribution.locate_file(file)))


def _files_below(folder: pathlib.Path) -> list[pathlib.Path]:
  """Font files in a folder and its subfolders."""
  return [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES]


@functools.lru_cache(maxsize=4096)
def _open_usable(path: str, characters: str) -> Font | None:
  """The font, or None when it is not one for text or cannot be opened."""
  name = pathlib.Path(path).stem
  try:
    if _NO_TEXT.search(name) or os.path.getsize(path) > MAX_BYTES:
      return None
    font = ImageFont.truetype(path, 24, layout_engine=ImageFont.Layout.BASIC)
    family, style = font.getname()
    usable = _draws_distinctly(font, characters)
  except OSError:  # FreeType refuses the file: broken, or no font at all
    return None
  key = family_key(family or name)
  return Font(key, f"{family} {style}".lower(), path) if usable else None


def _draws_distinctly(font: ImageFont.FreeTypeFont, characters: str) -> bool:
  """Whether every character has a glyph and no two that matter share one.

  A capital may look like its small letter (fonts of small capitals), and some pairs
  are alike in many fonts; anything else that coincides is a placeholder.
  """
  missing = bytes(font.getmask("\uffff"))
  seen: dict[bytes, str] = {}
  for character in characters:
    mask = font.getmask(character)
    drawing = bytes(mask)
    if mask.getbbox() is None or drawing == missing:
      return False
    other = seen.setdefault(drawing, character)
    same = other.lower() == character.lower()
    if not same and not any(other in a and character in a for a in ALIKE):
      return False
  return True


def _digest(text: str) -> str:
  """A hash that is the same in every process, unlike `hash`."""
  return hashlib.sha256(text.encode()).hexdigest()
