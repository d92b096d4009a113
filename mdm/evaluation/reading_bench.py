"""Readers of words beside each other: accuracy and speed, in one run on one machine.

Every reader gets the same decoded pictures, uint8 [y x c] at their own size, and gives
texts. What it does in between (scaling, batching, writing files) is its own time.

A reader's speed is the median over rounds on a sample of the words, spread evenly over
the set. It has read all words before, so nothing compiles while the clock runs, and
rounds go through the readers in turn, so that a machine whose speed drifts slows all.
"""

import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdm.evaluation.peers import ReadImages, open_ppocr, open_tesseract
from mdm.evaluation.words import score_words
from mdm.masks.choices import check_choice
from mdm.training.hardware import count_cores, describe_hardware

PACKAGES = ("mdm", "jax", "numpy", "pillow", "onnxruntime")
PEERS = ("tesseract", "ppocr")
ABSENT = {
  "tesseract": "tesseract is not installed (Debian: apt-get install tesseract-ocr)",
  "ppocr": "PP-OCRv4 is not installed (pip install rapidocr-onnxruntime)",
}


class Words(NamedTuple):
  """Pictures of words.

  Attributes:
    names: where each is from.
    images: uint8 [y x c], each of its own size.
    truths: the words.
  """

  names: list[str]
  images: list[np.ndarray]
  truths: list[str]


class Entrant(NamedTuple):
  """A reader to be measured.

  Attributes:
    name: what the table calls it.
    read: from pictures to texts.
    batch: how many pictures it takes at once.
    passes: denoising passes; None where it has none.
  """

  name: str
  read: ReadImages
  batch: int
  passes: int | None = None


def load_words(cfg_data: Mapping[str, Any], split: str, limit: int = 0) -> Words:
  """Pictures of a data set at their own size, in colour.

  Args:
    cfg_data: a config's `data` section, of word images.
    split: which part; "a+b" joins two.
    limit: only so many, spread evenly over the split; 0 for all.

  Raises:
    ValueError: no such data set or split, a picture that cannot be read, or one
      without a text.
  """
  from mdm.data import datasets, images
  from mdm.data.records import open_records
  from mdm.data.settings import WordSettings

  settings = datasets.read_settings(cfg_data)
  if not isinstance(settings, WordSettings):
    raise ValueError(f"data set {settings.name!r} holds no pictures of words.")
  records = open_records(settings, split)
  numbers = spread(len(records), limit)
  names = [records.name(number) for number in numbers]
  found = records.read(numbers)
  if "" in (texts := [text for _, text in found]):
    raise ValueError(
      f"{names[texts.index('')]} has no text to compare with; set data.labels to a "
      "file of lines 'NAME TEXT'."
    )
  pixels = [
    images.decode_image(content, name=name, channels=3)
    for name, (content, _) in zip(names, found, strict=True)
  ]
  return Words(names, pixels, texts)


def open_peers(names: Sequence[str], cores: int) -> tuple[list[Entrant], list[str]]:
  """The other readers that are installed, and a note on each.

  Raises:
    ValueError: an unknown name.
  """
  entrants, notes = [], []
  for name in names:
    check_choice("peer", name, PEERS)
    opened = open_tesseract(cores) if name == "tesseract" else open_ppocr(cores)
    if opened is None:
      notes.append(ABSENT[name])
    elif name == "tesseract":
      entrants.append(Entrant("tesseract", opened[0], 1))
      notes.append(
        f"tesseract {opened[1]}: single-word mode, pictures as they are, {cores} "
        "processes of one thread that each read a list of files"
      )
    else:
      entrants.append(Entrant("PP-OCRv4 recogniser", opened[0], 1))
      notes.append(
        f"PP-OCRv4: rapidocr-onnxruntime {opened[1]}, recogniser alone, {cores} "
        "threads, one picture at once (more are padded to the widest and are slower)"
      )
  return entrants, notes


def bench_readers(
  entrants: Sequence[Entrant],
  words: Words,
  *,
  rounds: int,
  sample: int,
  say: Callable[[str], None] = print,
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
  """A row of numbers for each reader, and what each read.

  Args:
    entrants: the readers.
    words: what they read.
    rounds: how often the sample is timed.
    sample: pictures in a round.
    say: told how far it is.

  Raises:
    ValueError: rounds or sample below 1.
  """
  if rounds < 1 or sample < 1:
    raise ValueError(f"rounds = {rounds} and sample = {sample} must be 1 or more.")
  readings: dict[str, list[str]] = {}
  for entrant in entrants:
    readings[entrant.name] = entrant.read(words.images)
    say(f"{entrant.name} has read {len(words.images)} words")
  images = [words.images[k] for k in spread(len(words.images), sample)]
  speeds = time_readers(entrants, images, rounds)
  rows = [
    {
      "reader": entrant.name,
      "passes": entrant.passes,
      "batch": entrant.batch,
      **score_words(readings[entrant.name], words.truths),
      **speeds[entrant.name],
    }
    for entrant in entrants
  ]
  return rows, readings


def time_readers(
  entrants: Sequence[Entrant], images: Sequence[np.ndarray], rounds: int
) -> dict[str, dict[str, float]]:
  """Images per second of each reader: median, lowest and highest of the rounds."""
  speeds: dict[str, list[float]] = {entrant.name: [] for entrant in entrants}
  for number in range(rounds + 1):
    for entrant in entrants:
      began = time.perf_counter()
      entrant.read(images)
      spent = time.perf_counter() - began
      if number > 0:  # the first round warms up
        speeds[entrant.name].append(len(images) / spent)
  return {
    name: {
      "images_per_s": statistics.median(found),
      "images_per_s_min": min(found),
      "images_per_s_max": max(found),
    }
    for name, found in speeds.items()
  }


def describe_conditions(sample: int, rounds: int) -> dict[str, Any]:
  """Hardware, load and versions, for the record of a benchmark."""
  versions = {}
  for package in PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return {
    "hardware": describe_hardware(),
    "cores": count_cores(),
    "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    "versions": versions,
    "timed": f"median of {rounds} rounds of {sample} pictures after warm-up, from "
    "decoded pixels to text",
  }


def describe_data(
  cfg_data: Mapping[str, Any], split: str, count: int
) -> dict[str, Any]:
  """Which words were read; of a folder its name, not its place."""
  folder = cfg_data.get("folder")
  name = Path(folder).name if folder else cfg_data["name"]
  return {"name": name, "split": split, "count": count}


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as a table of text."""
  lines = [f"{'reader':24} {'passes':>6} {'batch':>5} {'accuracy':>15} {'images/s':>9}"]
  for row in rows:
    accuracy = f"{100 * row['accuracy']:.1f}% ± {100 * row['accuracy_stderr']:.1f}"
    lines.append(
      f"{row['reader']:24} {row['passes'] or '':>6} {row['batch']:>5} {accuracy:>15} "
      f"{row['images_per_s']:9.1f}"
    )
  return "\n".join(lines)


def spread(count: int, limit: int) -> list[int]:
  """Up to `limit` of the numbers below `count` at even distances; all if it is 0."""
  if limit == 0 or limit >= count:
    return list(range(count))
  return np.linspace(0, count - 1, limit).round().astype(int).tolist()
