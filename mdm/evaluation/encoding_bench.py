"""Vectors of texts beside PyTorch's, in the same rounds.

Both sides have the same weights, texts and tokenizer's library, and go from strings to
an array in the texts' order. PyTorch's encodes as sentence-transformers does, with
several sizes of batches. Ratios are taken within a round, and their median is reported.
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mdm.evaluation.steps.bench import Times, time_rounds
from mdm.evaluation.torch_process import TorchProcess, count_threads

SCRIPT = Path(__file__).with_name("encoding_in_torch.py")
NEEDS = ("torch", "numpy", "transformers", "tokenizers")
PEER_BATCHES = (8, 32, 128)  # 32 is sentence-transformers' own

Encode = Callable[[Sequence[str]], Float[np.ndarray, "b d"]]
Decode = Callable[[Sequence[int]], str]


def bench_encode(encode: Encode, texts: Sequence[str], rounds: int) -> dict[str, Any]:
  """Our side alone: `numbers` and `times`."""
  times = time_rounds({"encode": timed(encode, texts)}, rounds)
  return {"numbers": summarise(times, len(texts)), "times": times, "notes": []}


def bench_beside_torch(
  encode: Encode,
  texts: Sequence[str],
  rounds: int,
  *,
  torch: str,
  folder: str | Path,
  settings: Mapping[str, Any],
) -> dict[str, Any]:
  """Both sides: `numbers`, all `times` and `notes`.

  Args:
    encode: ours.
    texts: what is encoded in each measurement.
    rounds: rounds, after one to warm up.
    torch: an interpreter with `NEEDS`.
    folder: the same model, as transformers reads it, with its `tokenizer.json`.
    settings: `length`, `pool` and `normalises`.

  Raises:
    ValueError: an interpreter that cannot run the peer.
  """
  ours = encode(texts)
  with TorchProcess(torch, SCRIPT, NEEDS) as process:
    asked = {"texts": list(texts), "threads": count_threads(), **settings}
    told = process.ask(open=str(Path(folder).resolve()), **asked)
    with tempfile.TemporaryDirectory() as scratch:
      path = Path(scratch) / "vectors.npy"
      process.ask(save=str(path))
      theirs = np.load(path, allow_pickle=False)

    def measure(batch: int) -> float:
      """PyTorch's seconds."""
      return float(process.ask(time=batch)["seconds"])

    measures = {"encode": timed(encode, texts)} | {
      f"torch/{batch}": functools.partial(measure, batch) for batch in PEER_BATCHES
    }
    times = time_rounds(measures, rounds)
  numbers = summarise(times, len(texts))
  numbers["torch/difference"] = float(np.abs(ours - theirs).max(initial=0.0))
  note = (
    f"PyTorch {told['version']} on {told['device']}, {count_threads()} threads, "
    f"batches of {', '.join(map(str, PEER_BATCHES))}; from strings to arrays"
  )
  return {"numbers": numbers, "times": times, "notes": [note]}


def timed(encode: Encode, texts: Sequence[str]) -> Callable[[], float]:
  """What encodes all texts and says how many seconds it took."""

  def measure() -> float:
    """Ours."""
    began = time.perf_counter()
    encode(texts)
    return time.perf_counter() - began

  return measure


def summarise(times: Times, count: int) -> dict[str, float]:
  """Medians over rounds, texts a second, and medians of ratios within rounds."""
  numbers: dict[str, float] = {}
  for name, spent in times.items():
    numbers[f"{name}_s"] = statistics.median(spent)
    numbers[f"{name}_min_s"] = min(spent)
    numbers[f"{name}_texts_per_s"] = count / statistics.median(spent)
  peers = [name for name in times if name != "encode"]
  for name in peers:
    pairs = zip(times[name], times["encode"], strict=True)
    numbers[f"{name}_over_ours"] = statistics.median(a / b for a, b in pairs)
  if peers:
    numbers["torch/best_over_ours"] = min(numbers[f"{n}_over_ours"] for n in peers)
  return numbers


def make_texts(decode: Decode, vocab_size: int, count: int, seed: int = 0) -> list[str]:
  """Texts of a tokenizer's own words, a few to a few dozen each, 12 at the median.

  Args:
    decode: the text of ids.
    vocab_size: how many ids there are.
    count: texts.
    seed: of the draw.

  Raises:
    ValueError: none of a thousand ids is a word.
  """
  rng = np.random.default_rng(seed)
  words = [decode([int(k)]).strip() for k in rng.integers(0, vocab_size, 1000)]
  words = [word for word in words if word.isalnum()]
  if not words:
    raise ValueError("the tokenizer has no words to make texts of; give --texts FILE.")
  lengths = np.clip(np.exp(rng.normal(np.log(12), 0.6, count)), 3, 60).astype(int)
  return [" ".join(rng.choice(words, size)) for size in lengths]
