"""Writes jiwer.npz: what jiwer counts in a thousand random pairs of texts.

  python tests/parity/make_jiwer.py [OUTPUT]

Needs jiwer (tried: 4.0.0 with rapidfuzz 3.14.6). Nothing of it is needed to run the
tests, which read the numbers. The keys are listed in README.md beside this file.
"""

import pathlib
import sys

import jiwer
import numpy as np

COUNT, SEED = 1_000, 0


def random_pairs(count, seed):
  """Rows of word numbers, -1 behind the end: references, then hypotheses."""
  rng = np.random.default_rng(seed)
  pairs = np.full((2, count, 24), -1, np.int8)
  for k in range(count):
    words = int(rng.choice([2, 3, 5, 10]))
    long = int(rng.choice([4, 10, 24]))
    reference = rng.integers(0, words, rng.integers(1, long + 1))
    if rng.random() < 0.5:  # unrelated
      hypothesis = rng.integers(0, words, rng.integers(0, long + 1))
    else:  # a few changes
      keep = rng.random(len(reference)) < 0.8
      hypothesis = np.where(
        rng.random(len(reference)) < 0.8, reference, (reference + 1) % words
      )[keep]
    pairs[0, k, : len(reference)] = reference
    pairs[1, k, : len(hypothesis)] = hypothesis
  return pairs


def text_of(row):
  """Words of unlike length, so that characters are another test than words."""
  return " ".join("abcdefghij"[k] * (1 + k % 3) for k in row if k >= 0)


def main():
  output = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/parity/jiwer.npz")
  pairs = random_pairs(COUNT, SEED)
  texts = [[text_of(row) for row in side] for side in pairs]
  counts = {}
  for name, process in (
    ("words", jiwer.process_words),
    ("chars", jiwer.process_characters),
  ):
    found = [process(r, h) for r, h in zip(*texts, strict=True)]
    counts[name] = [[o.substitutions, o.deletions, o.insertions] for o in found]
  rates = [jiwer.wer(*texts), jiwer.cer(*texts)]
  np.savez_compressed(
    output, pairs=pairs, words=np.array(counts["words"], np.int16),
    chars=np.array(counts["chars"], np.int16), rates=np.array(rates),
  )  # fmt: skip


if __name__ == "__main__":
  main()
