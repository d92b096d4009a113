"""Where activations lie on a mesh: rows of the batch, and tokens of long sequences.

Where parameters are cut along a mesh axis that cuts the batch too ("fsdp"), a compiler
has the choice: to gather the parameters of a layer when it is their turn, or to gather
the activations of the whole batch and leave parameters cut. It was seen to do the
latter, at a hundred times the traffic. What is said here leaves it the former alone.

A mesh whose axis "sequence" has several devices cuts every sequence too, along its
tokens. Maps of single tokens then need nothing of other devices. Attention does: its
queries stay where they are, and keys and values are gathered (`gather_tokens`), unless
it knows better (`mdm.kernels.sharded`).

Source: *Ring Attention with Blockwise Transformers for Near-Infinite Context*, Liu et
al., 2023, for sequences over devices; *Context Parallelism for Scalable Million-Token
Inference*, Yang et al., 2024, for gathered keys and values.
"""

import math
from collections.abc import Callable

import jax
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array, Shaped

BATCH_AXES = ("data", "fsdp")
TOKEN_AXIS = "sequence"


def keep_batch(x: Shaped[Array, "*dims"]) -> Shaped[Array, "*dims"]:
  """The same array, its first axis said to be cut like the batch; its gradient too.

  Other axes are left to the compiler. Nothing is said of arrays of one or two axes, of
  a first axis that the devices do not divide, and where no mesh of several devices is
  set (`jax.set_mesh`), or its axes are handled by hand (`jax.shard_map`).
  """
  return _say(x, PartitionSpec.UNCONSTRAINED)


def keep_tokens(x: Shaped[Array, "*dims"]) -> Shaped[Array, "*dims"]:
  """`keep_batch`, and the second axis, of tokens, cut along the mesh axis "sequence".

  It is left alone where that axis has one device, or does not divide it.
  """
  is_cut = x.ndim > 1 and token_shards(x.shape[1]) > 1
  return _say(x, TOKEN_AXIS if is_cut else PartitionSpec.UNCONSTRAINED)


def gather_tokens(x: Shaped[Array, "*dims"]) -> Shaped[Array, "*dims"]:
  """`keep_batch`, and all tokens, the second axis, on each device along "sequence"."""
  is_cut = x.ndim > 1 and token_shards(x.shape[1]) > 1
  return _say(x, None if is_cut else PartitionSpec.UNCONSTRAINED)


def by_rows(
  function: Callable[..., jax.Array], x: Shaped[Array, "*dims"], *whole: jax.Array
) -> jax.Array:
  """`function(x, *whole)` of each device's rows of the batch by themselves.

  For what treats rows alike and what the compiler does not cut by itself: it was seen
  to gather the whole batch before a convolution in groups. Where no mesh of several
  devices is set, or it does not divide the rows, the function is just called.

  Args:
    function: of rows and of what is the same for all; its first axis is that of `x`.
    x: rows.
    *whole: what every device needs whole, such as a kernel.
  """
  axes = _batch_axes()
  ways = math.prod(jax.sharding.get_abstract_mesh().shape[name] for name in axes)
  if ways == 1 or x.shape[0] % ways:
    return function(x, *whole)
  rows = PartitionSpec(tuple(axes))
  return jax.shard_map(
    function,
    in_specs=(rows, *[PartitionSpec()] * len(whole)),
    out_specs=rows,
    axis_names=set(axes),
  )(x, *whole)


def token_shards(length: int) -> int:
  """Into how many shards the mesh that is set cuts so many tokens; 1 where it cannot.

  Also 1 where the axis is handled by hand already, as under `jax.shard_map`.
  """
  mesh = jax.sharding.get_abstract_mesh()
  kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
  if kinds.get(TOKEN_AXIS) != AxisType.Auto:
    return 1
  shards = mesh.shape[TOKEN_AXIS]
  return shards if length % shards == 0 else 1


def _say(x: Shaped[Array, "*dims"], second: object) -> Shaped[Array, "*dims"]:
  """The array with what is said of its first axis, if it divides, and its second."""
  axes = _batch_axes()
  ways = math.prod(jax.sharding.get_abstract_mesh().shape[name] for name in axes)
  free = PartitionSpec.UNCONSTRAINED
  first = free if ways == 1 or x.ndim < 3 or x.shape[0] % ways else tuple(axes)
  if x.ndim < 3 or (first is free and second is free):
    return x
  spec = PartitionSpec(first, second, *[free] * (x.ndim - 2))
  return jax.lax.with_sharding_constraint(x, spec)


def _batch_axes() -> list[str]:
  """Axes of the mesh that is set that cut a batch and that the compiler manages."""
  mesh = jax.sharding.get_abstract_mesh()
  return [
    name
    for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
    if name in BATCH_AXES and kind == AxisType.Auto
  ]
