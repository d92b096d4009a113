"""Weights in another library's layout: which array is which, there and here.

A `Weight` says where an array lies in both, and how its axes are turned. Both ways only
move numbers, so that what is read and written again is the same, bit for bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdm.interop import safetensors

Arrays = Mapping[str, Any]
Params = dict[str, Any]


class Weight(NamedTuple):
  """One array.

  Attributes:
    name: its name there.
    path: its path here.
    shape: its shape here.
    stored: its shape there.
    axes: the order of the stored axes that, reshaped, is the array here.
  """

  name: str
  path: tuple[str, ...]
  shape: tuple[int, ...]
  stored: tuple[int, ...]
  axes: tuple[int, ...]

  def read(self, array: np.ndarray) -> np.ndarray:
    """The array as it lies here."""
    return array.transpose(self.axes).reshape(self.shape)

  def write(self, array: np.ndarray) -> np.ndarray:
    """The array as it lies there."""
    turned = array.reshape([self.stored[axis] for axis in self.axes])
    return turned.transpose(np.argsort(self.axes))


def plain(
  name: str,
  path: tuple[str, ...],
  shape: tuple[int, ...],
  stored: tuple[int, ...] | None = None,
) -> Weight:
  """An array that lies there as here, but perhaps for its shape (a fused bias)."""
  stored = shape if stored is None else stored
  return Weight(name, path, shape, stored, tuple(range(len(stored))))


def linear(
  name: str, path: tuple[str, ...], shape: tuple[int, ...], inputs: int = 1
) -> Weight:
  """A linear map: [*in, *out] here with `inputs` axes that go in, [out, in] there."""
  ins, outs = shape[:inputs], shape[inputs:]
  return Weight(name, path, shape, (int(np.prod(outs)), int(np.prod(ins))), (1, 0))


def stored_shapes(weights: Sequence[Weight]) -> dict[str, jax.ShapeDtypeStruct]:
  """Names and shapes there, for `safetensors.check_arrays`."""
  return {w.name: jax.ShapeDtypeStruct(w.stored, jnp.float32) for w in weights}


def read_params(arrays: Arrays, weights: Sequence[Weight]) -> Params:
  """Parameters here, float32, from arrays there whose shapes were checked."""
  params: Params = {}
  for weight in weights:
    array = np.asarray(arrays[weight.name]).astype(np.float32)
    put(params, weight.path, weight.read(array))
  return params


def write_arrays(params: Params, weights: Sequence[Weight]) -> dict[str, np.ndarray]:
  """Arrays there from parameters here.

  Raises:
    ValueError: listing all parameters that are missing, unexpected or misshapen.
  """
  wanted: Params = {}
  for weight in weights:
    put(wanted, weight.path, jax.ShapeDtypeStruct(weight.shape, jnp.float32))
  leaves = {k: np.asarray(x) for k, x in safetensors.flatten(params).items()}
  safetensors.check_arrays(leaves, wanted, "(the parameters)")
  return {w.name: w.write(leaves["/".join(w.path)]) for w in weights}


def put(tree: Params, path: Sequence[str], leaf: Any) -> None:
  """Sets the leaf at a path of a tree of dicts."""
  for part in path[:-1]:
    tree = tree.setdefault(part, {})
  tree[path[-1]] = leaf


def stack_layers(params: Params, depth: int) -> Params:
  """Layers `block_i` as one `blocks` with an axis of layers first."""
  rest = dict(params)
  layers = [rest.pop(f"block_{i}") for i in range(depth)]
  return rest | {"blocks": jax.tree.map(lambda *x: np.stack(x), *layers)}


def unstack_layers(params: Params, depth: int) -> Params:
  """The reverse of `stack_layers`; layers too few or many are found later."""
  rest = {name: x for name, x in params.items() if name != "blocks"}
  layers = params.get("blocks", {})
  for i in range(min([depth, *(len(x) for x in jax.tree.leaves(layers))])):
    rest[f"block_{i}"] = jax.tree.map(lambda x, i=i: x[i], layers)
  return rest
