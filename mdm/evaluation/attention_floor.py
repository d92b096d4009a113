"""What attention must cost: work by formula, and what this device can do per second.

A floor is the time that the largest of three rates allows, max(FLOPs / P, bytes / BW,
exponentials / R): no program of this work can be faster on the device. "ideal" is the
work of the function itself, every visible pair once; "chunks" that of attending in
chunks, whose queries share what any of them sees; "dense" all of the past.

Source: *Roofline: An Insightful Visual Performance Model*, Williams et al., 2009; the
backward factor from *FlashAttention-2*, Dao, 2023, section 4.1.
"""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BACKWARD = 2.5  # products of the backward pass over those of the forward, recomputed
TRIES = 10
EXPONENTIALS = 16  # one after the other for each value read


class Case(NamedTuple):
  """The sizes of one problem, and how its scores are drawn."""

  batch: int
  heads: int
  kv_heads: int
  length: int
  head_width: int
  width: int
  pattern: str = "iid"


class Work(NamedTuple):
  """Operations of one pass: products' FLOPs, bytes to and from memory, exponentials."""

  flops: float
  bytes: float
  exps: float


class Rates(NamedTuple):
  """What the device does per second, and how that is known."""

  flops_per_s: float
  bytes_per_s: float
  exps_per_s: float
  source: str


# Measured on the kind of device with large products and copies in bfloat16; the rate of
# exponentials is its specification's.
KNOWN = {
  ("NVIDIA H200", "bfloat16"): Rates(790e12, 4.3e12, 3.9e12, "known of NVIDIA H200")
}


def count_pairs(case: Case, function: str, chunk: int | None = None) -> float:
  """Pairs of query and key of one head: "ideal", "chunks" or "dense"."""
  n, w = case.length, min(case.width, case.length)
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
  moved: float = itemsize * b * n * d * (2 * h + 2 * g)
  if function != "dense":
    moved += 4 * b * g * n  # scores
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


def measure_rates(
  dtype: str, *, side: int | None = None, values: int | None = None
) -> Rates:
  """The best of a few large products, copies and exponentials on the first device.

  Args:
    dtype: of the product; it sums in float32.
    side: of its square matrices; None for 8,192, on a CPU 1,536.
    values: float32 to copy and to take exponentials of; None for 2^28, on a CPU 2^25.
  """
  is_cpu = jax.default_backend() == "cpu"
  side = side or (1_536 if is_cpu else 8_192)
  values = values or (2**25 if is_cpu else 2**28)
  matrix = jnp.zeros((side, side), dtype)
  row = jnp.zeros(values, jnp.float32)
  part = jnp.zeros(max(values // 64, 1), jnp.float32)  # a CPU's cache holds it

  def multiply(x: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A product of matrices, of 2 n^3 FLOPs."""
    return jnp.dot(x, x, preferred_element_type=jnp.float32).astype(x.dtype)

  def raise_often(x: Float[Array, "n"]) -> Float[Array, "n"]:
    """Exponentials of exponentials, in one pass over memory."""
    for _ in range(EXPONENTIALS):
      x = jnp.exp(-x)
    return x

  return Rates(
    2 * side**3 / _best_s(multiply, matrix),
    8 * values / _best_s(lambda x: x + 1, row),
    EXPONENTIALS * part.size / _best_s(raise_often, part),
    f"measured: {side}^2 {dtype} product, copy of {4 * values / 2**20:g} MiB",
  )


def device_rates(dtype: str) -> Rates:
  """Rates known of this kind of device, else measured now."""
  known = KNOWN.get((jax.devices()[0].device_kind, dtype))
  return measure_rates(dtype) if known is None else known


def _best_s(function: Any, x: Float[Array, "*dims"]) -> float:
  """The least time of a few calls, after one that compiles."""
  run = jax.jit(function, donate_argnums=0)  # no fresh memory, whose pages cost time
  x = jax.block_until_ready(run(x))
  times = []
  for _ in range(TRIES):
    began = time.perf_counter()
    x = jax.block_until_ready(run(x))
    times.append(time.perf_counter() - began)
  return min(times)
