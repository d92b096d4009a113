"""PyTorch's attention, timed by an interpreter that has it: it runs this file's text.

Requests come as lines of JSON on standard input, answers go to standard output:
  {"load": PATH.npz, "dtype": "float32", "threads": 2, "names": ["torch"],
   "kinds": ["forward", "both"]}
     -> {"version": "2.13.0", "device": "cpu", "kinds": {"torch": ["forward", "both"]},
         "keys_read": {"torch": 512.5}, "failed": {"flex": "why"}}
  {"time": "torch", "kind": "both", "least_s": 0.02}  ->  {"seconds": 0.01}
  {"result": "torch", "path": PATH.npy}  ->  {}
  {"rates": "float32", "threads": 2}  ->  {"flops_per_s": 1e11, "exps_per_s": 1e9}

The same arrays as everywhere: query [b q h d], key and value [b n g d], score [b g n],
d_out, and end [b g n], the eviction times, which are given and not timed; queries are
all n, or the last one alone, whose key and value the cache has already. `torch` is
dense causal attention, another function; `torch_mask` gets the dynamic mask and bias as
one explicit array of n x n, and makes it; `flex` adds the bias inside FlexAttention,
under a block mask that is made beforehand.
"""

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_REPEATS = 50
TRIES = 5
SIDES = {"cpu": (512, 1_536), "cuda": (4_096, 8_192)}
torch: Any = importlib.import_module("torch")  # of the interpreter that runs this


def make_run(name: str, arrays: dict[str, Any]) -> tuple[Callable[[], Any], float]:
  """A function that attends, and the keys it reads per query.

  The arrays have their heads before positions. A step's heads of queries become rows
  of their head of keys, which so is read once.
  """
  query, key, value, score = (arrays[k] for k in ("query", "key", "value", "score"))
  group = query.shape[1] // key.shape[1]
  attend = torch.nn.functional.scaled_dot_product_attention
  position = torch.arange(key.shape[2], device=query.device)
  b, h, q, d = query.shape
  n = key.shape[2]
  is_step = q < n

  def widen(x: Any) -> Any:
    """Each head of keys once for each of its heads of queries."""
    return x.repeat_interleave(group, dim=1) if group > 1 else x

  def run(**mask: Any) -> Any:
    """The fused kernel."""
    if is_step:
      rows = query.reshape(b, h // group, group, d)
      return attend(rows, key, value, **mask).reshape(query.shape)
    return attend(query, widen(key), widen(value), **mask)

  def dense() -> Any:
    """All of the past."""
    return run(is_causal=not is_step)

  def masked() -> Any:
    """An explicit mask with the bias in it."""
    row = position[-q:, None]
    visible = (position <= row) & (row < arrays["end"][:, :, None])  # b g q n
    bias = torch.where(visible, score[:, :, None], -torch.inf).to(query.dtype)
    return run(attn_mask=bias if is_step else widen(bias))

  if name == "flex":
    return make_flex(arrays, group)
  return (masked, n) if name != "torch" else (dense, n if is_step else (n + 1) / 2)


def make_flex(arrays: dict[str, Any], group: int) -> tuple[Callable[[], Any], float]:
  """FlexAttention, compiled, with the bias and a block mask from eviction times."""
  flex = importlib.import_module("torch.nn.attention.flex_attention")
  query, key, value, score, end = (
    arrays[k] for k in ("query", "key", "value", "score", "end")
  )
  b, h, n, _ = query.shape

  def is_visible(b: Any, h: Any, i: Any, j: Any) -> Any:
    """The interval of key j."""
    return (j <= i) & (i < end[b, h // group, j])

  def add_bias(s: Any, b: Any, h: Any, i: Any, j: Any) -> Any:
    """The bias of key j."""
    return s + score[b, h // group, j]

  blocks = flex.create_block_mask(is_visible, b, h, n, n, device=query.device.type)
  attend = torch.compile(flex.flex_attention)

  def run() -> Any:
    """All of it but the block mask."""
    options = {"score_mod": add_bias, "block_mask": blocks}
    return attend(query, key, value, enable_gqa=group > 1, **options)

  return run, n * (1 - blocks.sparsity() / 100)


class Bench:
  """The arrays of one problem, and what can be timed with them."""

  def start(self, threads: int) -> None:
    """Finds the device; 0 threads leaves their number to PyTorch."""
    if threads:
      torch.set_num_threads(threads)
    self.device = "cuda" if torch.cuda.is_available() else "cpu"

  def load(self, request: dict[str, Any]) -> dict[str, Any]:
    """Reads arrays and tries every name forward and backward."""
    self.start(request["threads"])
    dtype = getattr(torch, request["dtype"])
    with np.load(request["load"]) as file:
      arrays = {k: torch.from_numpy(file[k]).to(self.device) for k in file.files}
    for name in ("query", "key", "value", "d_out"):
      arrays[name] = arrays[name].transpose(1, 2).contiguous().to(dtype)
    self.leaves = [arrays[k] for k in ("query", "key", "value", "score")]
    self.d_out = arrays["d_out"]
    kinds: dict[str, list[str]] = {}
    failed, keys_read = {}, {}
    self.runs: dict[str, Callable[[], Any]] = {}
    for name in request["names"]:
      kinds[name] = []
      try:
        self.runs[name], keys_read[name] = make_run(name, arrays)
        for kind in request["kinds"]:
          self.call(name, kind)
          kinds[name].append(kind)
      except Exception as error:  # any: torch and its compiler raise many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        failed[name] = lines[0]
    version = {"version": torch.__version__, "device": self.device}
    return {**version, "kinds": kinds, "keys_read": keys_read, "failed": failed}

  def call(self, name: str, kind: str) -> Any:
    """Results, after a backward pass where it is asked for."""
    for leaf in self.leaves:
      leaf.grad = None
      leaf.requires_grad_(kind == "both")
    out = self.runs[name]()
    if kind == "both":
      out.backward(self.d_out)
    return out.detach()

  def seconds(self, name: str, kind: str, least_s: float) -> float:
    """Time of one call, from as many as the clock needs."""
    first = self.spend(name, kind, 1)
    repeats = min(int(least_s / max(first, 1e-9)), MOST_REPEATS)
    return first if repeats < 2 else self.spend(name, kind, repeats)

  def spend(self, name: str, kind: str, repeats: int) -> float:
    """Mean time of so many calls."""
    self.wait()
    began = time.perf_counter()
    for _ in range(repeats):
      self.call(name, kind)
    self.wait()
    return (time.perf_counter() - began) / repeats

  def rates(self, dtype: Any) -> dict[str, float]:
    """Products of square matrices, and exponentials of what a cache holds."""
    flops = []
    for side in SIDES[self.device]:
      x = torch.ones(side, side, dtype=dtype, device=self.device)
      flops.append(2 * side**3 / self.best_s(functools.partial(torch.mm, x, x)))
    x = torch.ones(2**19, device=self.device)
    exps = x.numel() / self.best_s(functools.partial(torch.exp, x, out=x))
    return {"flops_per_s": max(flops), "exps_per_s": exps}

  def best_s(self, run: Callable[[], Any]) -> float:
    """The least time of a few calls."""
    times = []
    for _ in range(TRIES):
      self.wait()
      began = time.perf_counter()
      run()
      self.wait()
      times.append(time.perf_counter() - began)
    return min(times)

  def wait(self) -> None:
    """Until the device has done all it was given."""
    if self.device == "cuda":
      torch.cuda.synchronize()

  def answer(self, request: dict[str, Any]) -> dict[str, Any]:
    """One request."""
    if "load" in request:
      return self.load(request)
    if "time" in request:
      name, kind, least_s = request["time"], request["kind"], request["least_s"]
      return {"seconds": self.seconds(name, kind, least_s)}
    if "rates" in request:
      self.start(request["threads"])
      return self.rates(getattr(torch, request["rates"]))
    out = self.call(request["result"], "forward").transpose(1, 2).float().cpu()
    np.save(request["path"], out.contiguous().numpy())
    return {}


def main() -> None:
  """Answers until standard input ends."""
  answers, sys.stdout = sys.stdout, sys.stderr  # what else is printed is no answer
  bench = Bench()
  for line in sys.stdin:
    print(json.dumps(bench.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
  main()
