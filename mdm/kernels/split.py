"""Tiles are independent: over the devices of a mesh, and over calls, they are cut.

The compiler partitions no kernel of ours. Under a mesh with axes that it manages, each
device therefore gets its part of the tiles explicitly, before the kernel is called.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType

PyTree = Any
Function = Callable[[PyTree], PyTree]


def over_mesh(function: Function, arrays: PyTree) -> PyTree:
  """`function` of each device's part of the tiles, cut along the first axis.

  The mesh is that of `jax.set_mesh`. Its axes are used in order, as long as they divide
  the tiles; devices along the others all do the same. Axes that are manual already, as
  under `jax.shard_map`, are left alone; beside them, a kernel for TPUs asks that none
  be managed, not even of one device.
  """
  mesh = jax.sharding.get_abstract_mesh()
  kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
  managed = [name for name, kind in kinds.items() if kind != AxisType.Manual]
  is_alone = math.prod(mesh.shape[name] for name in managed) == 1
  if is_alone and len(managed) in (0, len(kinds)):
    return function(arrays)
  tiles = jax.tree.leaves(arrays)[0].shape[0]
  cut: list[str] = []
  for name in managed:
    if tiles % math.prod(mesh.shape[axis] for axis in (*cut, name)) == 0:
      cut.append(name)
  spec = jax.P(tuple(cut))
  return jax.shard_map(
    function,
    in_specs=(spec,),
    out_specs=spec,
    axis_names=set(managed),
    check_vma=False,
  )(arrays)


def in_parts(function: Function, arrays: PyTree, most: int) -> PyTree:
  """`function` of at most so many tiles at once, one part after the other."""
  tiles = jax.tree.leaves(arrays)[0].shape[0]
  size = next(size for size in range(min(most, tiles), 0, -1) if tiles % size == 0)
  if size == tiles:
    return function(arrays)
  parts = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), arrays)
  results = jax.lax.map(function, parts)
  return jax.tree.map(lambda x: x.reshape(tiles, *x.shape[2:]), results)
