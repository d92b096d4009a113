"""Which words are misread, and how: what a renderer or a training lacks.

Words are compared as they are scored: lower case, letters and digits only.
"""

import collections
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mdm.evaluation.reading_bench import Words
from mdm.evaluation.words import normalize

CELL, LINE, COLUMNS = (180, 64), 30, 6
MOST_DRAWN = 240


def find_misses(readings: Sequence[str], truths: Sequence[str]) -> list[int]:
  """Numbers of the words that were misread."""
  pairs = zip(readings, truths, strict=True)
  return [k for k, (r, t) in enumerate(pairs) if normalize(r) != normalize(t)]


def accuracy_by_length(
  readings: Sequence[str], truths: Sequence[str]
) -> dict[int, tuple[float, int]]:
  """Share of words read and their number, by the number of letters and digits."""
  right: dict[int, list[bool]] = collections.defaultdict(list)
  for reading, truth in zip(readings, truths, strict=True):
    word = normalize(truth)
    right[len(word)].append(normalize(reading) == word)
  return {k: (sum(right[k]) / len(right[k]), len(right[k])) for k in sorted(right)}


def count_confusions(
  readings: Sequence[str], truths: Sequence[str]
) -> list[tuple[str, str, int]]:
  """(true, read, how often) for each stretch that was misread, the frequent first.

  "" as true is something added, "" as read something left out.
  """
  counts: collections.Counter[tuple[str, str]] = collections.Counter()
  for reading, truth in zip(readings, truths, strict=True):
    a, b = normalize(truth), normalize(reading)
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for kind, i, k, m, n in matcher.get_opcodes():
      if kind == "replace" and k - i == n - m:
        counts.update(zip(a[i:k], b[m:n], strict=True))
      elif kind != "equal":
        counts[a[i:k], b[m:n]] += 1
  return [(*pair, count) for pair, count in counts.most_common()]


def write_misses(
  path: str | Path, words: Words, readings: Mapping[str, Sequence[str]], reader: str
) -> None:
  """Writes a reader's misread words, with what the others read in them.

  Args:
    path: a table parted by tabs; or, if it ends in .png, a sheet of the pictures.
    words: what was read.
    readings: texts by reader.
    reader: whose misses.

  Raises:
    ValueError: the file cannot be written.
  """
  missed = find_misses(readings[reader], words.truths)
  try:
    if Path(path).suffix.lower() == ".png":
      _draw(words, readings[reader], missed).save(path)
      return
    lines = ["\t".join(["name", "truth", *readings])]
    for k in missed:
      texts = [words.truths[k], *(found[k] for found in readings.values())]
      cells = [words.names[k], *(" ".join(text.split()) for text in texts)]
      lines.append("\t".join(cells))
    Path(path).write_text("\n".join(lines) + "\n")
  except OSError as error:
    raise ValueError(
      f"misses {path} cannot be written ({error.strerror}); name another file."
    ) from None


def _draw(words: Words, readings: Sequence[str], missed: Sequence[int]) -> Image.Image:
  """The first misread pictures, truth and reading below each."""
  shown = missed[:MOST_DRAWN]
  rows = max(1, -(-len(shown) // COLUMNS))
  width, height = CELL
  sheet = Image.new("RGB", (COLUMNS * width, rows * (height + LINE)), "white")
  draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
  for place, k in enumerate(shown):
    x, y = place % COLUMNS * width, place // COLUMNS * (height + LINE)
    pixels = words.images[k]
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture = ImageOps.contain(picture, (width - 4, height - 4))
    sheet.paste(picture, (x + 2, y + 2))
    draw.text((x + 2, y + height), words.truths[k], fill="darkgreen", font=font)
    draw.text((x + 2, y + height + 13), readings[k], fill="darkred", font=font)
  return sheet
