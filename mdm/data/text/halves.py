"""Bible verses in two halves, to ask for either half by the other.

A verse is cut at the space nearest its middle. Both halves are text: a model that
learned verses may be given the first half and asked for the second, as it read them, or
the other way round. Verses of which a half occurs twice are left out, and so are those
that do not fit `data.length`, EOS included, or fill less than half of it.

Source: *The Reversal Curse*, Berglund et al., 2023; *Large Language Diffusion Models*,
2025, section 3.3 (poems completed forwards and backwards).
"""

import collections
import hashlib
import pathlib
from collections.abc import Iterator

from mdm.data.text import pairs, storage
from mdm.data.text.characters import fold_text8
from mdm.data.text.corpora import open_corpus, source_files
from mdm.data.text.pairs import Pair
from mdm.data.text.settings import HalvesSettings, TextSettings

count_examples, load = pairs.count_examples, pairs.load


def prepare(
  settings: HalvesSettings,
  *,
  force: bool = False,
  progress: bool = False,
  num_workers: int | None = None,
) -> pathlib.Path:
  """Builds the data set unless it is there; returns its folder."""
  del progress, num_workers  # one pass over a text
  corpus = TextSettings(name="kjv", manual_dir=settings.manual_dir)

  def make(folder: pathlib.Path) -> storage.Built:
    """Cuts verses and writes them."""
    verses = (v for d in open_corpus(corpus)() for v in d.text.split("\n"))
    found = choose(cut_verses(verses, settings.length), settings.count, settings.seed)
    return pairs.write_pairs(settings, folder, [(pair, None) for pair in found])

  return storage.prepare_folder(
    settings, lambda: source_files(corpus), make, force=force
  )


def cut_verses(verses: Iterator[str], length: int) -> Iterator[Pair]:
  """The two halves of each verse that is long and short enough, letters alone."""
  for number, verse in enumerate(verses):
    text = fold_text8(verse).strip()
    if length // 2 <= len(text) < length and " " in text:
      gaps = [k for k, character in enumerate(text) if character == " "]
      cut = min(gaps, key=lambda k: abs(2 * k - len(text)))
      yield Pair(text[: cut + 1], text[cut + 1 :], f"verse {number + 1}")


def choose(found: Iterator[Pair], count: int, seed: int) -> list[Pair]:
  """`count` pairs whose halves each occur once, by hash, in the order of the text.

  Raises:
    ValueError: there are fewer.
  """
  every = list(found)
  times = collections.Counter(half for pair in every for half in pair[:2])
  own = [pair for pair in every if times[pair.prompt] == times[pair.answer] == 1]
  if len(own) < count:
    raise ValueError(
      f"data.count = {count} exceeds the {len(own)} verses that fit data.length and "
      "share no half; lower it, or change data.length."
    )
  order = sorted(range(len(own)), key=lambda k: _hash(seed, own[k]))
  return [own[k] for k in sorted(order[:count])]


def _hash(seed: int, pair: Pair) -> bytes:
  return hashlib.sha256(f"{seed}:{pair.prompt}{pair.answer}".encode()).digest()
