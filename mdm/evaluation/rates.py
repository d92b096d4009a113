"""What this device can do per second: products, bytes to and from memory, exponentials.

No single program shows a processor's peak: which one is fastest depends on sizes and on
the library, and a machine that is shared changes speed from second to second. So the
rates are the best of several programs of several libraries, tried again in every round
of what is measured beside them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TRIES = 5
EXPONENTIALS = 16  # one after the other for each value read
PRODUCTS = {  # m, k, n of [m k] [k n]; some fit a CPU's caches
  "cpu": ((512, 512, 512), (1_536, 1_536, 1_536), (8_192, 64, 512), (512, 512, 8_192)),
  "gpu": ((4_096, 4_096, 4_096), (8_192, 8_192, 8_192), (16_384, 4_096, 4_096)),
}
VALUES = {"cpu": 2**25, "gpu": 2**28}  # more than a cache holds

Probe = Callable[[], Mapping[str, float]]  # rates of `Rates` by name, as far as tried


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


class Gauge:
  """The highest rates seen so far of each kind; without probes, those it was given."""

  def __init__(self, rates: Rates, probes: Sequence[Probe] = ()) -> None:
    self.rates, self.probes = rates, probes

  def measure(self) -> None:
    """Tries every probe once more."""
    for probe in self.probes:
      best = self.rates._asdict()
      for name, rate in probe().items():
        best[name] = max(best[name], rate)
      self.rates = Rates(**best)


def open_gauge(dtype: str, probes: Sequence[Probe] = ()) -> Gauge:
  """Rates known of this kind of device, else what JAX, NumPy and `probes` reach.

  NumPy counts on a CPU and in float32 only.
  """
  known = KNOWN.get((jax.devices()[0].device_kind, dtype))
  if known is not None:
    return Gauge(known)
  is_cpu = jax.default_backend() == "cpu"
  kind = "cpu" if is_cpu else "gpu"
  own = [jax_probe(dtype, PRODUCTS[kind], VALUES[kind])]
  if is_cpu and dtype == "float32":
    own.append(numpy_probe(PRODUCTS[kind]))
  source = f"measured: the best {dtype} products, passes over memory, exponentials"
  return Gauge(Rates(0.0, 0.0, 0.0, source), [*own, *probes])


def jax_probe(
  dtype: str, products: Sequence[tuple[int, int, int]], values: int
) -> Probe:
  """Products, copies, sums and exponentials on the first device, compiled here.

  Args:
    dtype: of the products; they sum in float32.
    products: m, k, n of each.
    values: float32 to copy and to sum, in place; 1/64 of these have exponentials.
  """

  def multiply(x: Float[Array, "m k"], y: Float[Array, "k n"]) -> Float[Array, "m n"]:
    """A product of matrices, of 2 m k n FLOPs."""
    return jnp.dot(x, y, preferred_element_type=jnp.float32)

  def raise_often(x: Float[Array, "n"]) -> Float[Array, "n"]:
    """Exponentials of exponentials, in one pass over memory."""
    for _ in range(EXPONENTIALS):
      x = jnp.exp(-x)
    return x

  multiply, raise_often = jax.jit(multiply), jax.jit(raise_often, donate_argnums=0)
  add, total = jax.jit(lambda x: x + 1, donate_argnums=0), jax.jit(jnp.sum)
  pairs = [(jnp.ones((m, k), dtype), jnp.ones((k, n), dtype)) for m, k, n in products]

  def probe() -> dict[str, float]:
    """All of them; arrays live while it runs only."""
    row = jnp.zeros(values, jnp.float32)
    part = jnp.zeros(max(values // 64, 1), jnp.float32)  # a CPU's cache holds it
    flops = [2 * x.shape[0] * y.size / _best_s(multiply, x, y) for x, y in pairs]
    read = 4 * values / _best_s(total, row)
    moved = 8 * values / _best_s(add, row, is_handed_on=True)
    exps = EXPONENTIALS * part.size / _best_s(raise_often, part, is_handed_on=True)
    return {
      "flops_per_s": max(flops),
      "bytes_per_s": max(read, moved),
      "exps_per_s": exps,
    }

  return probe


def numpy_probe(products: Sequence[tuple[int, int, int]]) -> Probe:
  """Products of NumPy's library, in float32."""
  pairs = [
    (np.ones((m, k), np.float32), np.ones((k, n), np.float32)) for m, k, n in products
  ]

  def probe() -> dict[str, float]:
    """The fastest."""
    rates = []
    for x, y in pairs:
      out = np.empty((len(x), y.shape[1]), np.float32)
      spent = _best_s(np.matmul, x, y, out)
      rates.append(2 * x.shape[0] * y.size / spent)
    return {"flops_per_s": max(rates)}

  return probe


def _best_s(
  function: Callable[..., Any], *args: Any, is_handed_on: bool = False
) -> float:
  """The least time of a few calls, after one to warm up.

  Args:
    is_handed_on: each call gets what the last one gave, where it writes in place.
  """
  times = []
  for _ in range(TRIES + 1):
    began = time.perf_counter()
    out = jax.block_until_ready(function(*args))
    times.append(time.perf_counter() - began)
    args = (out,) if is_handed_on else args
  return min(times[1:])
