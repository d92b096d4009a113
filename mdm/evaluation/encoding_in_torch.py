"""PyTorch's vectors of texts, timed by an interpreter that has it: it runs this file.

Requests come as lines of JSON on standard input, answers go to standard output:
  {"open": FOLDER, "texts": [], "length": 256, "pool": "mean", "normalises": true,
   "threads": 2}  ->  {"version": "2.13.0", "device": "cpu", "parameters": 100}
  {"time": 32}  ->  {"seconds": 3.5}
  {"save": PATH.npy}  ->  {"shape": [100, 384]}

FOLDER holds transformers' `config.json` and `model.safetensors` and a `tokenizer.json`.
Texts are encoded as sentence-transformers does it: the longest first, so many at once,
each batch padded to its longest, without gradients.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

torch: Any = importlib.import_module("torch")  # of the interpreter that runs this
tokenizers: Any = importlib.import_module("tokenizers")
transformers: Any = importlib.import_module("transformers")


class Bench:
  """One encoder and the texts that it is asked for."""

  def open(self, request: dict[str, Any]) -> dict[str, Any]:
    """Reads the encoder and its tokenizer."""
    if request["threads"]:
      torch.set_num_threads(request["threads"])
    self.device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Path(request["open"])
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32)
    self.model = model.to(self.device).eval()
    self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    self.tokenizer.enable_truncation(request["length"])
    self.tokenizer.enable_padding()
    self.texts, self.settings = request["texts"], request
    return {
      "version": torch.__version__,
      "device": self.device,
      "parameters": sum(x.numel() for x in model.parameters()),
    }

  def encode(self, batch: int) -> np.ndarray:
    """A vector of each text, in their order."""
    order = sorted(range(len(self.texts)), key=lambda k: -len(self.texts[k]))
    found = []
    with torch.inference_mode():
      for first in range(0, len(order), batch):
        chosen = [self.texts[k] for k in order[first : first + batch]]
        found.append(self.pool(self.tokenizer.encode_batch_fast(chosen)))
      rows = torch.cat(found).cpu().numpy()
    vectors = np.empty_like(rows)
    vectors[order] = rows
    return vectors

  def pool(self, encodings: Any) -> Any:
    """Vectors of one batch."""
    tokens = torch.tensor([e.ids for e in encodings], device=self.device)
    valid = torch.tensor([e.attention_mask for e in encodings], device=self.device)
    states = self.model(input_ids=tokens, attention_mask=valid).last_hidden_state
    real = valid[..., None]
    if self.settings["pool"] == "cls":
      vectors = states[:, 0]
    elif self.settings["pool"] == "max":
      vectors = states.masked_fill(real == 0, -torch.inf).amax(1)
    else:
      vectors = (states * real).sum(1) / real.sum(1)
    if self.settings["normalises"]:
      vectors = torch.nn.functional.normalize(vectors, dim=1)
    return vectors

  def answer(self, request: dict[str, Any]) -> dict[str, Any]:
    """One request."""
    if "open" in request:
      return self.open(request)
    if "save" in request:
      vectors = self.encode(32)
      np.save(request["save"], vectors, allow_pickle=False)
      return {"shape": list(vectors.shape)}
    began = time.perf_counter()
    self.encode(request["time"])
    return {"seconds": time.perf_counter() - began}


def main() -> None:
  """Answers until standard input ends."""
  answers, sys.stdout = sys.stdout, sys.stderr  # what else is printed is no answer
  bench = Bench()
  for line in sys.stdin:
    print(json.dumps(bench.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
  main()
