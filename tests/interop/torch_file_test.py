"""PyTorch's files, of which `torch_file.pth` was written by `make_torch_file.py`."""

import os
import pickle
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.interop.torch_file import read_arrays

FILE = Path(__file__).with_name("torch_file.pth")
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)


def packed(path, content, folder="archive"):
  """A file with another pickle."""
  with zipfile.ZipFile(path, "w") as file:
    file.writestr(f"{folder}/data.pkl", content)
  return path


def test_every_tensor_is_read_as_it_was_saved():
  found = read_arrays(FILE)
  expected = {
    "weight": np.full((2, 3), 0.5, np.float32),
    "bias": np.array([1, -1], np.float32),
    "turned": BASE.T[1:, 1:],
    "same": BASE,
    "half": np.array([0.5, 2], np.float16),
    "brain": np.array([0.5, 3], jnp.bfloat16),
    "count": np.array(7),
    "none": np.zeros((0, 3), np.float32),
    "is_on": np.array([True, False]),
  }
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array)
    assert found[name].dtype == array.dtype, name


class Evil:
  """What a pickle that acts looks like."""

  def __reduce__(self):
    return os.mkdir, ("acted",)


def test_nothing_that_a_file_asks_for_is_done(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  content = pickle.dumps({"model": {"weight": Evil()}, "list": [Path("x")]})
  path = packed(tmp_path / "evil.pth", content)
  with pytest.raises(ValueError, match="no tensors by name; save a model's state"):
    read_arrays(path)
  assert not (tmp_path / "acted").exists()
  pickle.loads(content)  # would it have acted?
  assert (tmp_path / "acted").exists()


def change(path, name, turn):
  """The stored file with one of its members changed."""
  with zipfile.ZipFile(FILE) as old, zipfile.ZipFile(path, "w") as new:
    for member in old.namelist():
      content = old.read(member)
      new.writestr(member, turn(content) if member.endswith(name) else content)
  return path


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
  with zipfile.ZipFile(FILE) as file:
    sizes = {n: file.getinfo(n).file_size for n in file.namelist() if "/data/" in n}
  largest = max(sizes, key=sizes.get)
  path = change(tmp_path / "cut.pth", largest, lambda content: content[:-8])
  with pytest.raises(ValueError, match=r"cut\.pth is damaged .*is cut off"):
    read_arrays(path)


def test_a_pickle_that_ends_early_is_refused(tmp_path):
  path = change(tmp_path / "cut.pth", "data.pkl", lambda content: content[:200])
  with pytest.raises(ValueError, match=r"cut\.pth is damaged"):
    read_arrays(path)


def test_a_view_past_the_end_is_refused(tmp_path):
  """The shape (5, 3) of `turned` made (5, 200)."""

  def turn(content):
    """Another last axis, in the pickle's own coding."""
    before, after = b"K\x05K\x03\x86", b"K\x05K\xc8\x86"
    assert content.count(before) == 1
    return content.replace(before, after)

  path = change(tmp_path / "far.pth", "data.pkl", turn)
  with pytest.raises(ValueError, match="reaches beyond its storage"):
    read_arrays(path)


def test_files_that_are_none_are_told_apart(tmp_path):
  with pytest.raises(ValueError, match=r"missing\.pth does not exist"):
    read_arrays(tmp_path / "missing.pth")
  path = tmp_path / "old.pth"
  path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
  with pytest.raises(ValueError, match=r"before PyTorch 1\.6"):
    read_arrays(path)
  with zipfile.ZipFile(tmp_path / "zip.pth", "w") as file:
    file.writestr("readme", "no weights")
  with pytest.raises(ValueError, match=r"has no data\.pkl"):
    read_arrays(tmp_path / "zip.pth")
