"""Other attention on the same arrays, where it is installed.

`xla`, `cudnn`, `tokamax` and `torch` are dense causal attention: another function, and
the time to beat. `xla_mask`, `torch_mask` and `flex` compute ours, from an explicit
mask of n x n or of blocks. Those of PyTorch are in `torch_process.py`.
"""

import importlib.util
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mdm.evaluation.attention_entrants import Attend, Entrant, Problem, jax_entrant
from mdm.evaluation.attention_floor import Case
from mdm.kernels.eviction import eviction_times
from mdm.kernels.intervals import Intervals, dense_mask
from mdm.masks.choices import check_choice

JAX_PEERS = ("xla", "xla_mask", "cudnn", "tokamax")
TORCH_PEERS = ("torch", "torch_mask", "flex")
PEERS = (*JAX_PEERS, *TORCH_PEERS)
FOREIGN = ("cudnn", "tokamax")  # which refuse shapes with errors of their own kinds
SAME = ("xla_mask", "torch_mask", "flex")


def check_peers(names: Sequence[str]) -> None:
  """Checks that all are known.

  Raises:
    ValueError: an unknown name.
  """
  for name in names:
    check_choice("peer", name, PEERS)


def jax_peer(name: str, case: Case) -> Attend:
  """The function of query, key, value and score that a peer in JAX computes."""
  attend: Attend = jax.nn.dot_product_attention
  if name == "tokamax":
    attend = importlib.import_module("tokamax").dot_product_attention
  implementation = {} if name == "tokamax" else {"implementation": name}

  def dense(
    query: jax.Array, key: jax.Array, value: jax.Array, score: jax.Array
  ) -> jax.Array:
    """All of the past, no bias."""
    return attend(query, key, value, is_causal=True, **implementation)

  def masked(
    query: jax.Array, key: jax.Array, value: jax.Array, score: jax.Array
  ) -> jax.Array:
    """The dynamic mask as n x n, made here."""
    n, group = case.length, case.heads // case.kv_heads
    position = jnp.arange(n, dtype=jnp.int32)
    end = eviction_times(score, case.width)
    visible = dense_mask(Intervals(position[None, None], end), position)  # b g n n
    bias = jnp.repeat(score[:, :, None], group, axis=1).astype(query.dtype)
    visible = jnp.repeat(visible, group, axis=1)  # b h n n
    return attend(query, key, value, bias, visible, implementation="xla")

  return masked if name == "xla_mask" else dense


def open_jax_peers(
  names: Sequence[str], case: Case, problem: Problem
) -> tuple[list[Entrant], list[str]]:
  """The peers in JAX that run here, and a note on each that does not."""
  entrants, notes = [], []
  for name in names:
    if name not in JAX_PEERS:
      continue
    if name == "cudnn" and jax.default_backend() != "gpu":
      notes.append("cudnn runs on a GPU only: not measured")
      continue
    if name == "tokamax" and importlib.util.find_spec("tokamax") is None:
      notes.append("tokamax is not installed (pip install tokamax, for Python 3.12)")
      continue
    is_same = name in SAME
    refusals = Exception if name in FOREIGN else MemoryError
    try:
      entrants.append(
        jax_entrant(
          name,
          jax_peer(name, case),
          problem,
          "ideal" if is_same else "dense",
          float(case.length) if name in ("xla", "xla_mask") else (case.length + 1) / 2,
        )
      )
    except refusals as error:
      lines = str(error).strip().splitlines() or [type(error).__name__]
      notes.append(f"{name} at N = {case.length}: {lines[0]}: not measured")
  return entrants, notes
