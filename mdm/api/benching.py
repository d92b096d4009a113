"""`mdm bench reader`: a reader beside others on the same words, in one run."""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mdm.api.model import Model, load
from mdm.decoding.decode import DECODERS, check_decoding
from mdm.evaluation import misses as missed
from mdm.evaluation import reading_bench
from mdm.evaluation.peers import start_tesseract_for_each
from mdm.evaluation.reading_bench import Entrant
from mdm.training import config

STEPWISE = ("lc", "blc", "random")
SPLITS = {"iiit5k": "train+validation", "folder": ""}  # IIIT5K trains no reader here
MOST_CONFUSIONS = 30
RESTARTS = 24  # images for which tesseract is started anew


def bench_reader(
  model: str | Path = "reader",
  *,
  data: str | Path = "iiit5k",
  overrides: Iterable[str] = (),
  split: str | None = None,
  limit: int = 0,
  decoders: Sequence[str] = ("pd", "lc", "ar"),
  steps: Sequence[int] = (1, 2, 3, 5),
  peers: Sequence[str] = reading_bench.PEERS,
  batch: int = 64,
  rounds: int = 5,
  sample: int = 256,
  misses: str | Path | None = None,
  say: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Word accuracy with its standard error and images/s of a model and its peers.

  Args:
    model: a run, exported weights, or a model that comes with mdm.
    data: a data set of word images, or a folder of images with labels.txt.
    overrides: "data.key=value" each.
    split: which part; None for all words of IIIT5K's training part, else "test".
    limit: only so many words, spread evenly; 0 for all.
    decoders: how the model reads; lc, blc and random once for each number of steps.
    steps: numbers of denoising passes.
    peers: other readers, "tesseract" and "ppocr"; one that is missing is noted.
    batch: images that the model reads at once.
    rounds: how often the speed is measured.
    sample: images in a measurement.
    misses: file for the words that the model misread at its best, a table or a .png.
    say: told how far it is.

  Returns:
    Plain types: rows, data, hardware, versions, notes, accuracy by length, confusions.

  Raises:
    ValueError: an unknown model, data set, decoder or peer; a setting out of range.
  """
  section, split = _data(data, overrides, split)
  for decoder in decoders:
    for count in steps:
      check_decoding(decoder, num_steps=count, temperature=1.0)
  reader = load(model)
  words = reading_bench.load_words(section, split, limit)
  conditions = reading_bench.describe_conditions(min(sample, len(words.names)), rounds)
  rivals, notes = reading_bench.open_peers(peers, conditions["cores"])
  ours = _entrants(reader, Path(model).name, decoders, steps, batch)
  rows, readings = reading_bench.bench_readers(
    [*ours, *rivals], words, rounds=rounds, sample=sample, say=say
  )
  if any(rival.name == "tesseract" for rival in rivals):
    notes.append(_restarted(words))
  best = max(rows[: len(ours)], key=lambda row: row["accuracy"])["reader"]
  if misses is not None:
    missed.write_misses(misses, words, readings, best)
  return {
    "model": Path(model).name,
    "step": reader.step,
    "data": reading_bench.describe_data(section, split, len(words.names)),
    "rows": rows,
    **conditions,
    "notes": [conditions["timed"], *notes],
    "best": best,
    **_describe_misses(readings[best], words.truths),
  }


def _describe_misses(
  readings: Sequence[str], truths: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
  """Accuracy by length and the most frequent confusions."""
  by_length = missed.accuracy_by_length(readings, truths)
  confusions = missed.count_confusions(readings, truths)[:MOST_CONFUSIONS]
  return {
    "by_length": [
      {"length": k, "accuracy": share, "count": count}
      for k, (share, count) in by_length.items()
    ],
    "confusions": [{"true": a, "read": b, "count": n} for a, b, n in confusions],
  }


def _data(
  data: str | Path, overrides: Iterable[str], split: str | None
) -> tuple[dict[str, Any], str]:
  """The section of a data set or folder, and the split to read."""
  cfg = config.base()
  is_folder = Path(data).is_dir()
  cfg.data = {"name": "folder", "folder": str(data)} if is_folder else {"name": data}
  for override in overrides:
    config.apply_override(cfg, override)
  section = cfg.data.to_dict()
  return section, SPLITS.get(section["name"], "test") if split is None else split


def _entrants(
  reader: Model,
  name: str,
  decoders: Sequence[str],
  steps: Sequence[int],
  batch: int,
) -> list[Entrant]:
  """The model with each decoder and, where it has a number of passes, each of these."""
  canvas = int(reader.cfg.method.get("canvas", 26))
  passes = {"pd": 1, "ar": canvas, "cloze": canvas + 1}
  if not decoders:
    raise ValueError(f"no decoder is named; known: {', '.join(DECODERS)}.")
  found = []
  for decoder in decoders:
    for count in steps if decoder in STEPWISE else (1,):
      read = functools.partial(
        reader.read, batch=batch, decoder=decoder, num_steps=count
      )
      label = f"{name} {decoder}" + (f" {count}" if decoder in STEPWISE else "")
      found.append(Entrant(label, read, batch, passes.get(decoder, count)))
  return found


def _restarted(words: reading_bench.Words) -> str:
  """How fast tesseract is where a program starts it for every image."""
  images = [words.images[k] for k in reading_bench.spread(len(words.images), RESTARTS)]
  began = time.perf_counter()
  start_tesseract_for_each(images)
  speed = len(images) / (time.perf_counter() - began)
  return (
    f"tesseract started anew for every picture, with its own threads, as wrappers do: "
    f"{speed:.1f} images/s"
  )
