"""PyTorch's training step, timed by an interpreter that has it: it runs this file.

Requests come as lines of JSON on standard input, answers go to standard output:
  {"open": PATH.py, "settings": {}, "batch": 8, "optimizer": {"lr": 1e-4}, "seed": 0,
   "dtype": "float32", "threads": 2}
     -> {"version": "2.13.0", "device": "cpu", "parameters": 100, "parts": []}
  {"time": "step", "steps": 1}  ->  {"seconds": 3.5, "loss": 1.2}
  {"memory": true}  ->  {"peak_mib": 4000.0}

The file at PATH defines make_model(settings, batch, device) -> (model, loss), or has a
third value, which gives numbers of the model's parts by name. Kinds are `forward`
(without gradients), `both` (with them), `step` (and AdamW as it comes), `step_fused`
(and AdamW with fused=True), and parts (with gradients).
"""

import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

torch: Any = importlib.import_module("torch")  # of the interpreter that runs this


class Bench:
  """One model and its optimiser."""

  def open(self, request: dict[str, Any]) -> dict[str, Any]:
    """Makes them."""
    if request["threads"]:
      torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    self.device = "cuda" if torch.cuda.is_available() else "cpu"
    self.dtype = getattr(torch, request["dtype"])
    spec = importlib.util.spec_from_file_location("peer", request["open"])
    if spec is None or spec.loader is None:
      raise ValueError(f"{request['open']} is no Python file.")
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    self.model, self.loss, *more = peer.make_model(
      request["settings"], request["batch"], self.device
    )
    self.parts = more[0] if more else {}
    self.model.train()
    self.optimizer = torch.optim.AdamW(self.model.parameters(), **request["optimizer"])
    trained = [x for x in self.model.parameters() if x.requires_grad]
    return {
      "version": torch.__version__,
      "device": self.device,
      "parameters": sum(x.numel() for x in trained),
      "parts": list(self.parts),
    }

  def forward(self, kind: str) -> Any:
    """The loss, or a part's number, in the dtype asked for."""
    with torch.autocast(
      self.device, dtype=self.dtype, enabled=self.dtype != torch.float32
    ):
      return self.parts.get(kind, self.loss)()

  def call(self, kind: str) -> Any:
    """One pass, with gradients and an update where they are asked for."""
    if kind == "forward":
      with torch.no_grad():
        return self.forward(kind)
    self.optimizer.zero_grad()
    loss = self.forward(kind)
    loss.backward()
    if kind.startswith("step"):
      for group in self.optimizer.param_groups:
        group["fused"] = True if kind == "step_fused" else None
      self.optimizer.step()
    return loss.detach()

  def time(self, kind: str, steps: int) -> dict[str, float]:
    """Mean seconds of so many passes, and the last loss."""
    self.wait()
    began = time.perf_counter()
    for _ in range(steps):
      loss = self.call(kind)
    self.wait()
    spent = time.perf_counter() - began
    return {"seconds": spent / steps, "loss": float(loss)}

  def wait(self) -> None:
    """Until the device has done all it was given."""
    if self.device == "cuda":
      torch.cuda.synchronize()

  def answer(self, request: dict[str, Any]) -> dict[str, Any]:
    """One request."""
    if "open" in request:
      return self.open(request)
    if "time" in request:
      return self.time(request["time"], request["steps"])
    return {"peak_mib": self.peak_mib()}

  def peak_mib(self) -> float | None:
    """The most memory that was held: the device's, or resident in this process."""
    if self.device == "cuda":
      return float(torch.cuda.max_memory_allocated() / 2**20)
    try:
      lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
      return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) / 2**10 if found else None


def main() -> None:
  """Answers until standard input ends."""
  answers, sys.stdout = sys.stdout, sys.stderr  # what else is printed is no answer
  bench = Bench()
  for line in sys.stdin:
    print(json.dumps(bench.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
  main()
