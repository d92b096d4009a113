"""What a token mixer reads and keeps: keys per query, bytes of cache per token.

Both are counted from the mixer itself, so that what is compared is what was trained.
Keys per query are those of the last query of a sequence, which reads the most.
"""

import functools
from typing import Any

import jax

from mdm.nn.mixers.dense import DenseAttention
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.mixers.latent import LatentAttention
from mdm.nn.mixers.native_sparse import NativeSparseAttention
from mdm.nn.mixers.window import WindowAttention


@functools.singledispatch
def keys_per_query(mixer: Any, length: int) -> int | None:
  """Keys that the last of `length` tokens reads; None for a mixer of unknown kind.

  What a mixer chooses among without reading it, such as the scores of dynamic masks,
  does not count.
  """
  del mixer, length
  return None


@keys_per_query.register(DenseAttention)
@keys_per_query.register(LatentAttention)
def _of_dense(mixer: Any, length: int) -> int:
  """All of them."""
  del mixer
  return length


@keys_per_query.register(WindowAttention)
def _of_window(mixer: Any, length: int) -> int:
  """The window."""
  return min(mixer.window, length)


@keys_per_query.register(DynamicMaskAttention)
def _of_dynamic_mask(mixer: Any, length: int) -> int:
  """The best tokens, and the latest ones."""
  return min(mixer.window + mixer.recent, length)


@keys_per_query.register(NativeSparseAttention)
def _of_native_sparse(mixer: Any, length: int) -> int:
  """Means of all blocks so far, tokens of the chosen blocks, and the window."""
  means = max(0, (length - mixer.block) // mixer.stride + 1)
  chosen = min(mixer.num_blocks * mixer.select_block, length)
  return means + chosen + min(mixer.window, length)


def cache_bytes(mixer: Any, length: int) -> int:
  """Bytes that one layer remembers one sequence of `length` tokens with."""
  cache = jax.eval_shape(lambda: mixer.init_cache(1, length))
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(cache))
