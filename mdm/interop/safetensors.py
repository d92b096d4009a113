"""Variables as a safetensors file: a flat map of names to arrays, read strictly.

An array's name is its path in the tree, "params/encoder/stem/kernel". The header also
holds what `metadata` says and a checksum of all arrays: the format notices a cut file,
the checksum a changed one; the header is in one order, so that the same variables give
the same bytes. A file is compared with the wanted names and shapes before
anything is computed, and every difference is told at once.

Source: the safetensors format, https://github.com/huggingface/safetensors.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

PyTree = Any
Arrays = Mapping[str, np.ndarray]
CHECKSUM = "crc32"


def flatten(tree: PyTree) -> dict[str, Any]:
  """The leaves of a tree of dicts by their path, parted by "/"."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in leaves
  }


def cast_floats(tree: PyTree, dtype: str) -> PyTree:
  """The tree with its floating arrays in `dtype`; other arrays stay as they are."""

  def cast(leaf: Any) -> Any:
    """One leaf."""
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.dtype(dtype)) if is_float else leaf

  return jax.tree.map(cast, tree)


def save_variables(
  tree: PyTree, path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
  """Writes a tree of arrays; a reader sees the old file or the new one, never a part.

  Args:
    tree: dicts of arrays, of any dtype that the format has, bfloat16 among them.
    path: the file.
    metadata: short texts for the header.
  """
  leaves = flatten(jax.device_get(tree))
  arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}
  header = {**(metadata or {}), CHECKSUM: str(_checksum(arrays))}
  path = Path(path)
  temporary = path.with_name(path.name + ".tmp")
  save_file(arrays, temporary, metadata=header)
  _order_header(temporary)
  temporary.chmod(0o644)  # the library makes it for its owner alone
  os.replace(temporary, path)


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """All arrays of a file by name, and the texts of its header.

  Raises:
    ValueError: there is no such file, it is cut off, or its content was changed.
  """
  path = Path(path)
  if not path.is_file():
    raise ValueError(f"weights file {path} does not exist; correct the path.")
  try:
    with safe_open(path, framework="numpy") as file:
      header = dict(file.metadata() or {})
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
  except (SafetensorError, OSError, ValueError) as error:
    raise ValueError(_damaged(path, str(error))) from None
  if header.get(CHECKSUM, str(_checksum(arrays))) != str(_checksum(arrays)):
    raise ValueError(_damaged(path, "its checksum differs"))
  return arrays, header


def read_header(path: str | Path) -> dict[str, str]:
  """The texts of a file's header; none of a file that cannot be read."""
  try:
    with safe_open(path, framework="numpy") as file:
      return dict(file.metadata() or {})
  except (SafetensorError, OSError):
    return {}


def is_half(path: str | Path, prefix: str = "params/") -> bool:
  """Whether a file keeps its arrays below `prefix` in bfloat16; looks at its header.

  Raises:
    ValueError: there is no such file, or it is cut off.
  """
  try:
    with safe_open(path, framework="numpy") as file:
      names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
      return all(file.get_slice(name).get_dtype() == "BF16" for name in names)
  except (SafetensorError, OSError) as error:
    raise ValueError(_damaged(Path(path), str(error))) from None


def load_variables(path: str | Path, target: PyTree) -> tuple[PyTree, dict[str, str]]:
  """A file's arrays in the structure and dtypes of `target`, and its header's texts.

  Args:
    path: the file.
    target: dicts of arrays or of their shapes (`jax.eval_shape`).

  Raises:
    ValueError: the file is missing or damaged, or its names and shapes are others than
      the target's; every missing, unexpected and misshapen array is listed.
  """
  arrays, header = read_arrays(path)
  check_arrays(arrays, target, path)
  leaves, structure = jax.tree.flatten(target)
  found = [
    jnp.asarray(arrays[name], leaf.dtype)
    for name, leaf in zip(flatten(target), leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, found), header


def check_arrays(arrays: Arrays, target: PyTree, path: str | Path) -> None:
  """Raises ValueError, listing arrays, unless names and shapes are the target's."""
  wanted = flatten(target)
  misshapen = [
    f"{name} is {_shape(arrays[name])} there, {_shape(leaf)} here"
    for name, leaf in wanted.items()
    if name in arrays and arrays[name].shape != leaf.shape
  ]
  parts = [
    f"{label} ({len(names)}): {', '.join(names)}"
    for label, names in (
      ("missing", _without(wanted, arrays)),
      ("unexpected", _without(arrays, wanted)),
      ("misshapen", misshapen),
    )
    if names
  ]
  if parts:
    raise ValueError(
      f"weights file {path} is of another model; {'; '.join(parts)}. Use the config it "
      "was exported with."
    )


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
  """Names that are not among the others, sorted."""
  return sorted(set(names) - set(others))


def _shape(leaf: Any) -> str:
  return str(list(leaf.shape))


def _order_header(path: Path) -> None:
  """Sorts the texts of a file's header, which the library writes in any order.

  A header is its length as eight bytes, then JSON that may end in spaces.
  """
  with path.open("r+b") as file:
    size = int.from_bytes(file.read(8), "little")
    content = json.loads(file.read(size))
    content["__metadata__"] = dict(sorted(content["__metadata__"].items()))
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(text) <= size, "the library wrote its header shorter than plain JSON"
    file.seek(8)
    file.write(text.ljust(size))


def _checksum(arrays: Arrays) -> int:
  """CRC-32 of names and bytes, in the order of the names."""
  total = 0
  for name in sorted(arrays):
    total = zlib.crc32(name.encode(), total)
    total = zlib.crc32(arrays[name].tobytes(), total)
  return total


def _damaged(path: Path, why: str) -> str:
  return f"weights file {path} is damaged ({why}); fetch or export it again."
