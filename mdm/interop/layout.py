"""Weights in another library's layout: which array is which, there and here.

A `Weight` says where an array lies in both, and how its axes are turned. Both ways only
move numbers, so that what is read and written again is the same, bit for bit.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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


def affine(
  name: str, path: tuple[str, ...], shape: tuple[int, ...], inputs: int = 1
) -> list[Weight]:
  """Kernel and bias of a linear map; `shape` is the kernel's, see `linear`."""
  outs = shape[inputs:]
  return [
    linear(f"{name}.weight", (*path, "kernel"), shape, inputs),
    plain(f"{name}.bias", (*path, "bias"), outs, (int(np.prod(outs)),)),
  ]


def norm(name: str, path: tuple[str, ...], width: int) -> list[Weight]:
  """Scale and bias of a norm."""
  return [
    plain(f"{name}.weight", (*path, "scale"), (width,)),
    plain(f"{name}.bias", (*path, "bias"), (width,)),
  ]


def apart(weights: Sequence[Weight], fused: str, parts: Sequence[str]) -> list[Weight]:
  """The same with each map named `fused` as the several that are stored there.

  One map of queries, keys and values here may be three there: `fused` is that part of
  the name, "qkv", and `parts` are the names in its place. `read_params` and
  `write_arrays` take the list as it was, `fuse` and `split` go between.
  """
  found = []
  for weight in weights:
    if fused not in weight.name.split("."):
      found.append(weight)
      continue
    stored = (weight.stored[0] // len(parts), *weight.stored[1:])
    names = [_renamed(weight.name, fused, part) for part in parts]
    found += [weight._replace(name=name, stored=stored) for name in names]
  return found


def fuse(
  arrays: Arrays, weights: Sequence[Weight], fused: str, parts: Sequence[str]
) -> dict[str, Any]:
  """Arrays there with the parts of each map in `weights` joined, see `apart`."""
  found = dict(arrays)
  for weight in weights:
    if fused in weight.name.split("."):
      names = [_renamed(weight.name, fused, part) for part in parts]
      found[weight.name] = np.concatenate([found.pop(name) for name in names])
  return found


def split(arrays: Arrays, fused: str, parts: Sequence[str]) -> dict[str, np.ndarray]:
  """The reverse of `fuse`."""
  found = {}
  for name, array in arrays.items():
    if fused not in name.split("."):
      found[name] = array
      continue
    pieces = np.split(array, len(parts))
    names = [_renamed(name, fused, part) for part in parts]
    found |= dict(zip(names, pieces, strict=True))
  return found


def _renamed(name: str, old: str, new: str) -> str:
  """A dotted name with one of its parts replaced."""
  return ".".join(new if part == old else part for part in name.split("."))


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


def read_json(path: Path) -> Any:
  """A file's content; None where there is none.

  Raises:
    ValueError: it is no JSON.
  """
  if not path.is_file():
    return None
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except ValueError:
    raise ValueError(f"{path} is no JSON; fetch the checkpoint again.") from None
