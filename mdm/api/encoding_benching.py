"""`mdm bench encode`: vectors of texts beside PyTorch's on the same machine."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mdm.api.layouts import export_layout
from mdm.api.model import Model, load
from mdm.api.vectors import read_lines
from mdm.evaluation import encoding_bench, tokenizers
from mdm.evaluation.reading_bench import describe_conditions
from mdm.evaluation.verbs import check_verb

TEXTS = 512


def bench_encode(
  run: str | Path,
  *,
  texts: str | Path | None = None,
  limit: int = 0,
  batch: int | None = None,
  rounds: int = 5,
  torch: str | None = None,
) -> dict[str, Any]:
  """Texts a second of an encoder, and of transformers in PyTorch with its weights.

  Args:
    run: of an encoder of sentences, or its imported or exported weights.
    texts: a file with a text a line; None for texts made of the tokenizer's words.
    limit: only so many texts, the first; 0 for all of a file, or `TEXTS` made ones.
    batch: texts encoded at once; None for what `Model.encode` chooses.
    rounds: how often both are measured.
    torch: an interpreter with PyTorch, transformers and tokenizers; None for no peer.

  Returns:
    Plain types: numbers, all times, hardware, versions, notes.

  Raises:
    ValueError: a model that encodes no texts, or has no place in the layout bert; a
      file without texts; an interpreter that cannot run the peer.
  """
  model = load(run)
  check_verb(model.method, "encode")
  chosen = _read_texts(texts, limit) if texts is not None else _make(model, limit)
  vectors = functools.partial(model.encode, batch=batch)
  if torch is None:
    found = encoding_bench.bench_encode(vectors, chosen, rounds)
  else:
    settings = {
      "length": int(model.cfg.data.length),
      "pool": getattr(model.method, "pool", "mean"),
      "normalises": getattr(model.method, "normalises", True),
    }
    with tempfile.TemporaryDirectory() as folder:
      export_layout(run, folder, "bert", force=True)
      if not (Path(folder) / tokenizers.FILE).is_file():
        raise ValueError(f"{run} has no {tokenizers.FILE}, which the peer needs too.")
      found = encoding_bench.bench_beside_torch(
        vectors, chosen, rounds, torch=torch, folder=folder, settings=settings
      )
  words = [len(text.split()) for text in chosen]
  timed = f"median of {rounds} rounds of {len(chosen)} texts after warm-up"
  return {
    "model": Path(run).name,
    "texts": len(chosen),
    "words_per_text": float(np.mean(words)),
    **found,
    **describe_conditions(len(chosen), rounds),
    "timed": timed,
  }


def _make(model: Model, limit: int) -> list[str]:
  """Texts of the tokenizer's words.

  Raises:
    ValueError: the model encodes no texts.
  """
  tokenizer = getattr(model, "tokenizer", None)
  if tokenizer is None or not hasattr(model.method, "vocab_size"):
    raise ValueError(
      f"{type(model.method).__name__} encodes no texts; bench encode needs an encoder "
      "of sentences."
    )
  decode, size = tokenizer.decode, tokenizer.vocab_size
  return encoding_bench.make_texts(decode, size, limit or TEXTS)


def _read_texts(path: str | Path, limit: int) -> list[str]:
  """The lines of a file that hold something.

  Raises:
    ValueError: there is no such file, it is no UTF-8, or it is empty.
  """
  found = [line for line in read_lines(path) if line.strip()]
  if not found:
    raise ValueError(f"{path} holds no texts; write one a line.")
  return found[: limit or None]
