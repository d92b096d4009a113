"""What attention must cost: work by formula, and what this device can do per second.

A floor is the time that the largest of three rates allows, max(FLOPs / P, bytes / BW,
exponentials / R): no program of this work can be faster on the device. "ideal" is the
work of the function itself, every visible pair once; "chunks" that of attending in
chunks, whose queries share what any of them sees; "dense" all of the past. A step of
decoding is one query, the last, which reads every key it sees once.

Source: *Roofline: An Insightful Visual Performance Model*, Williams et al., 2009; the
backward factor from *FlashAttention-2*, Dao, 2023, section 4.1.
"""

from typing import NamedTuple

from mdm.evaluation.rates import Rates

BACKWARD = 2.5  # products of the backward pass over those of the forward, recomputed


class Case(NamedTuple):
  """The sizes of one problem, how its scores are drawn, and whether it is a step."""

  batch: int
  heads: int
  kv_heads: int
  length: int
  head_width: int
  width: int
  pattern: str = "iid"
  is_step: bool = False


class Work(NamedTuple):
  """Operations of one pass: products' FLOPs, bytes to and from memory, exponentials."""

  flops: float
  bytes: float
  exps: float


def count_pairs(case: Case, function: str, chunk: int | None = None) -> float:
  """Pairs of query and key of one head: "ideal", "chunks" or "dense"."""
  n, w = case.length, min(case.width, case.length)
  if case.is_step:
    return float(n if function == "dense" else w)
  if function == "dense":
    return n * (n + 1) / 2
  if function == "chunks" and chunk is not None:
    return min(n * (w + (chunk + 1) / 2), n * (n + 1) / 2)
  return n * w - w * (w - 1) / 2


def forward_work(
  case: Case, function: str, itemsize: int, chunk: int | None = None
) -> Work:
  """The forward pass; "chunks" also reads, writes and reads its gathered keys."""
  b, h, g, n, d = case[:5]
  pairs = b * h * count_pairs(case, function, chunk)
  keys = count_pairs(case, function) if case.is_step else n
  moved = itemsize * b * d * (2 * h * (1 if case.is_step else n) + 2 * g * keys)
  if function != "dense":
    moved += 4 * b * g * keys  # scores
  if function == "chunks" and chunk is not None:
    moved += 3 * 2 * itemsize * b * g * n * d * (case.width + chunk) / chunk
  return Work(4 * d * pairs, moved, pairs)


def both_work(work: Work) -> Work:
  """Forward and backward: inputs are read again, and a gradient written of each."""
  return Work((1 + BACKWARD) * work.flops, 3 * work.bytes, 2 * work.exps)


def floor_s(work: Work, rates: Rates) -> float:
  """Seconds below which no program does this work."""
  return max(
    work.flops / rates.flops_per_s,
    work.bytes / rates.bytes_per_s,
    work.exps / rates.exps_per_s,
  )
