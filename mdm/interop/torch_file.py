"""Arrays of a PyTorch checkpoint (.pth), read without PyTorch and without running it.

Such a file is a zip with a pickle, which may name any function, and the numbers of each
tensor beside it. Here a name means a tensor, a container, or nothing: whatever else the
pickle asks for becomes an empty thing that is thrown away, so that an optimiser's
state or a command line that was saved along does no harm and no good. A file takes no
more memory than it is long: none of it is compressed, no tensor has more numbers than
its storage, and the pickle counts no more things than it has bytes.

Source: the zip format of torch.save since PyTorch 1.6, torch/serialization.py.
"""

import collections
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

DTYPES = {
  "DoubleStorage": np.float64,
  "FloatStorage": np.float32,
  "HalfStorage": np.float16,
  "BFloat16Storage": jnp.bfloat16,
  "LongStorage": np.int64,
  "IntStorage": np.int32,
  "ShortStorage": np.int16,
  "CharStorage": np.int8,
  "ByteStorage": np.uint8,
  "BoolStorage": np.bool_,
}
STATES = ("model", "state_dict", "module")  # where a training keeps its parameters


class Kind(NamedTuple):
  """A class of storages, by the name that PyTorch has for it."""

  name: str


class Nothing:
  """In place of whatever is no tensor and no container; takes all that is put in it."""

  def __new__(cls, *args: Any, **kwargs: Any) -> "Nothing":
    """One of them, whatever it is made of."""
    return object.__new__(cls)

  def __init__(self, *args: Any, **kwargs: Any) -> None:
    """Keeps none of it."""

  def __setstate__(self, state: Any) -> None:
    """Keeps none of it."""

  def __setitem__(self, key: Any, value: Any) -> None:
    """Keeps none of it."""

  def append(self, item: Any) -> None:
    """Keeps none of it."""

  def extend(self, items: Any) -> None:
    """Keeps none of it."""


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
  """All tensors of a checkpoint by name; those of its "model", where it has one.

  Raises:
    ValueError: no such file, a damaged one, one from before PyTorch 1.6, or one that
      holds no named tensors.
  """
  path = Path(path)
  if not path.is_file():
    raise ValueError(f"weights file {path} does not exist; correct the path.")
  if not zipfile.is_zipfile(path):
    raise ValueError(
      f"weights file {path} is cut off, or from before PyTorch 1.6; fetch it again, or "
      "load it in PyTorch and save it anew."
    )
  try:
    with zipfile.ZipFile(path) as file:
      content = _read(file)
  except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, IndexError,
          AttributeError, TypeError, OSError, OverflowError,
          RuntimeError, NotImplementedError, ValueError) as error:  # fmt: skip
    raise ValueError(
      f"weights file {path} is damaged ({error}); fetch it again."
    ) from None
  for name in STATES:
    if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
      content = content[name]
  if not isinstance(content, Mapping):
    content = {}
  found = {str(k): x for k, x in content.items() if isinstance(x, np.ndarray)}
  if not found:
    raise ValueError(
      f"weights file {path} holds no tensors by name; save a model's state_dict()."
    )
  return found


def _read(file: zipfile.ZipFile) -> Any:
  """What was saved, with NumPy arrays for tensors."""
  if any(info.compress_type != zipfile.ZIP_STORED for info in file.infolist()):
    raise KeyError("it is compressed, which PyTorch does not do")
  pickles = [n for n in file.namelist() if n.rpartition("/")[2] == "data.pkl"]
  if not pickles:
    raise KeyError("it has no data.pkl")
  folder = pickles[0].removesuffix("data.pkl")
  order = "<"
  if f"{folder}byteorder" in file.namelist():
    order = {b"little": "<", b"big": ">"}[file.read(f"{folder}byteorder").strip()]
  storages: dict[str, np.ndarray] = {}

  def find_storage(kind: Kind, key: str, count: int) -> np.ndarray:
    """The numbers of a storage, of which several tensors may be parts."""
    if key not in storages:
      dtype = np.dtype(DTYPES[kind.name])
      content = file.read(f"{folder}data/{key}")
      if len(content) < count * dtype.itemsize:
        raise KeyError(f"data/{key} is cut off")
      numbers = np.frombuffer(content, dtype, count)
      storages[key] = numbers if order == "<" else numbers.byteswap()
    return storages[key]

  content = file.read(pickles[0])
  _check_places(content)
  return _Reader(io.BytesIO(content), find_storage).load()


def _check_places(content: bytes) -> None:
  """Refuses a pickle whose memory of things seen has far places, room for all.

  Raises:
    UnpicklingError: a place beyond the pickle's length.
  """
  for opcode, place, _ in pickletools.genops(content):
    is_put = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT")
    if is_put and int(place or 0) > len(content):
      raise pickle.UnpicklingError(f"place {place} in so short a pickle")


class _Reader(pickle.Unpickler):
  """A pickle's content in which names stand for few things, none of which acts."""

  def __init__(
    self, stream: io.BytesIO, find_storage: Callable[[Kind, str, int], np.ndarray]
  ) -> None:
    super().__init__(stream, encoding="utf-8")
    self._find_storage = find_storage

  def find_class(self, module: str, name: str) -> Any:
    """What is called by a name in the pickle."""
    if (module, name) == ("collections", "OrderedDict"):
      return collections.OrderedDict
    if module == "torch" and name in DTYPES:
      return Kind(name)
    known = {"_rebuild_tensor_v2": _tensor, "_rebuild_parameter": _parameter}
    return known.get(name, Nothing) if module == "torch._utils" else Nothing

  def persistent_load(self, pid: Any) -> np.ndarray:
    """The storage that a tensor is a part of."""
    what, kind, key, _, count = pid
    if what != "storage" or not isinstance(kind, Kind):
      raise pickle.UnpicklingError(f"a storage of unknown kind {kind}")
    return self._find_storage(kind, key, count)


def _tensor(
  storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *rest: Any
) -> np.ndarray:
  """A view of a storage, whose strides count numbers."""
  del rest
  last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  is_empty = 0 in shape
  if offset < 0 or min(strides, default=0) < 0 or not (is_empty or last < storage.size):
    raise pickle.UnpicklingError("a tensor reaches beyond its storage")
  if math.prod(shape) > storage.size:
    raise pickle.UnpicklingError("a tensor has more numbers than its storage")
  if is_empty:
    return np.zeros(shape, storage.dtype)
  sizes = [step * storage.itemsize for step in strides]
  view = np.lib.stride_tricks.as_strided(
    storage[offset:], shape, sizes, writeable=False
  )
  return np.ascontiguousarray(view).reshape(shape)


def _parameter(data: np.ndarray, *rest: Any) -> np.ndarray:
  """A parameter is its tensor."""
  del rest
  return data
