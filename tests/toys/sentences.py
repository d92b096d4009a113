"""A published encoder of sentences with random weights, and a peer without PyTorch."""

import json
import sys

from parity import bert as original

from mdm.interop import bert

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{k}" for k in range(36))]
FAKE = """
import json, sys
import numpy as np
from pathlib import Path
for line in sys.stdin:
  asked = json.loads(line)
  if "open" in asked:
    there = Path(asked["open"])
    assert json.loads((there / "config.json").read_text())["model_type"] == "bert"
    for name in ("model.safetensors", "tokenizer.json"):
      assert (there / name).is_file(), name
    assert asked["length"] == 9 and asked["pool"] == "mean" and asked["normalises"]
    count, told = len(asked["texts"]), {"version": "0", "device": "cpu"}
  elif "save" in asked:
    np.save(asked["save"], np.full((count, 24), 2.0, np.float32))
    told = {"shape": [count, 24]}
  else:
    told = {"seconds": {8: 1e6, 32: 2e6, 128: 3e6}[asked["time"]]}
  print(json.dumps(told), flush=True)
"""


def publish(folder):
  """A checkpoint's folder, with the stored weights and a tokenizer of `WORDS`."""
  config = {
    "method": {"pool": "mean", "normalises": True},
    "model": {"network": original.network()},
    "data": {"length": 9},
  }
  bert.save_checkpoint(original.params(), config, folder)
  write_tokenizer(folder / "tokenizer.json", WORDS)


def write_tokenizer(path, words):
  """A tokenizer of whole words with BERT's template."""
  special = [
    {"id": k, "content": word, "special": True, "single_word": False, "lstrip": False,
     "rstrip": False, "normalized": False}
    for k, word in enumerate(words[:4])
  ]  # fmt: skip
  marks = {name: {"id": name, "ids": [k], "tokens": [name]}
           for k, name in ((2, "[CLS]"), (3, "[SEP]"))}  # fmt: skip
  single = [
    {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
  ]
  content = {
    "version": "1.0",
    "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0,
                   "direction": "Right"},
    "padding": None,
    "added_tokens": special,
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing", "single": single,
                       "pair": single, "special_tokens": marks},
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {w: k for k, w in enumerate(words)},
              "unk_token": "[UNK]"},
  }  # fmt: skip
  path.write_text(json.dumps(content))


def make_fake(folder):
  """A script, and an interpreter in whose PyTorch it answers from a list."""
  for module in ("torch", "transformers"):
    (folder / f"{module}.py").write_text("")
  script, python = folder / "script.py", folder / "python"
  script.write_text(FAKE)
  python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
  python.chmod(0o755)
  return script, python
