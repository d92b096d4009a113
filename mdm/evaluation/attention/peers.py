"""Other attention on the same arrays, where it is installed.

`xla`, `cudnn`, `tokamax`, `splash` and `torch` are dense causal attention: another
function, and the time to beat. `xla_mask`, `torch_mask` and `flex` compute ours, from
an explicit mask of n x n or of blocks. Those of PyTorch are in `torch_process.py`.
"""

import importlib
import importlib.util
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.evaluation.attention.entrants import Attend, Entrant, jax_entrant
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.problems import Problem
from mdm.kernels.eviction import eviction_times
from mdm.kernels.intervals import Intervals, dense_mask
from mdm.masks.choices import check_choice

JAX_PEERS = ("xla", "xla_mask", "cudnn", "tokamax", "splash")
TORCH_PEERS = ("torch", "torch_mask", "flex")
PEERS = (*JAX_PEERS, *TORCH_PEERS)
FOREIGN = ("cudnn", "tokamax", "splash")  # which refuse shapes with errors of all kinds
SAME = ("xla_mask", "torch_mask", "flex")
LANES = 128  # of a TPU: a multiple is what splash attention's heads and blocks are
BLOCK = 512


def check_peers(names: Sequence[str]) -> None:
  """Checks that all are known.

  Raises:
    ValueError: an unknown name.
  """
  for name in names:
    check_choice("peer", name, PEERS)


def why_not(name: str) -> str | None:
  """What a peer in JAX would need to run here; None where it has all."""
  platform = jax.default_backend()
  if name == "cudnn" and platform != "gpu":
    return "cudnn runs on a GPU only: not measured"
  if name == "splash" and platform != "tpu":
    return "splash attention runs on a TPU only: not measured (see --aot)"
  if name == "tokamax" and importlib.util.find_spec("tokamax") is None:
    return "tokamax is not installed (pip install tokamax): not measured"
  return None


def jax_peer(name: str, case: Case) -> Attend:
  """The function of query, key, value and score that a peer in JAX computes."""
  attend: Attend = jax.nn.dot_product_attention
  implementation: str | None = name
  if name == "tokamax":
    attend = importlib.import_module("tokamax").dot_product_attention
    # Its flags would be looked for on our command line, and ours be refused.
    importlib.import_module("absl.flags").FLAGS.mark_as_parsed()
    # On a CPU it would choose its dense one; on others the fastest for the device.
    implementation = "xla_chunked" if jax.default_backend() == "cpu" else None

  def dense(
    query: jax.Array, key: jax.Array, value: jax.Array, score: jax.Array
  ) -> jax.Array:
    """All of the past, no bias."""
    return attend(query, key, value, is_causal=True, implementation=implementation)

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

  return {"xla_mask": masked, "splash": splash}.get(name, dense)


def splash(
  query: Float[Array, "b n h d"],
  key: Float[Array, "b n g d"],
  value: Float[Array, "b n g d"],
  score: Float[Array, "b g n"],
  *,
  is_interpreted: bool = False,
) -> Float[Array, "b n h d"]:
  """JAX's splash attention on a TPU, causal, with the scores as bias.

  It takes no bias of keys: the score is one more number of each key, which every query
  multiplies by 1. Heads so widened fill the next multiple of 128.

  Args:
    is_interpreted: runs anywhere, slowly.
  """
  tpu = importlib.import_module("jax.experimental.pallas.ops.tpu.splash_attention")
  n, h, d = query.shape[1:]
  size = min(BLOCK, n)
  names = ("q", "kv", "q_dkv", "kv_dkv", "kv_dkv_compute", "q_dq", "kv_dq")
  kernel = tpu.make_splash_mha_single_device(
    tpu.MultiHeadMask([tpu.CausalMask((n, n))] * h),
    block_sizes=tpu.BlockSizes(**{f"block_{name}": size for name in names}),
    interpret=is_interpreted,
  )

  def widen(x: Float[Array, "b n k d"], last: Float[Array, "#b #k #n"]) -> jax.Array:
    """Heads first; one more number each, and zeros."""
    x = x.swapaxes(1, 2)  # b k n d
    last = jnp.broadcast_to(last.astype(x.dtype), x.shape[:-1])[..., None]
    zeros = jnp.zeros((*x.shape[:-1], -(d + 1) % LANES), x.dtype)
    return jnp.concatenate([x, last, zeros], axis=-1)

  rows = widen(query * d**-0.5, jnp.ones((1, 1, 1)))
  out = jax.vmap(kernel)(rows, widen(key, score), value.swapaxes(1, 2))  # b h n d
  return out.swapaxes(1, 2)


def open_jax_peers(
  names: Sequence[str], case: Case, problem: Problem
) -> tuple[list[Entrant], list[str]]:
  """The peers in JAX that run here, and a note on each that does not."""
  entrants, notes = [], []
  for name in names:
    if name not in JAX_PEERS:
      continue
    missing = why_not(name)
    if missing is not None:
      notes.append(missing)
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
          float(case.length) if _reads_all(name) else (case.length + 1) / 2,
        )
      )
    except refusals as error:
      lines = str(error).strip().splitlines() or [type(error).__name__]
      notes.append(f"{name} at N = {case.length}: {lines[0]}: not measured")
  return entrants, notes


def _reads_all(name: str) -> bool:
  """Whether a peer computes the future's scores too, and hides them."""
  whole = ("xla", "xla_mask")
  return name in ((*whole, "tokamax") if jax.default_backend() == "cpu" else whole)
