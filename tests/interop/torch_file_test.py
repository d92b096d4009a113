"""PyTorch's files, of which `torch_file.pth` was written by `make_torch_file.py`."""

import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.interop import torch_file
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


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
  with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("archive/data.pkl", pickle.dumps({}))
    file.writestr("archive/data/0", bytes(10**7))
  assert (tmp_path / "bomb.pth").stat().st_size < 20_000
  tracemalloc.start()
  with pytest.raises(ValueError, match=r"bomb\.pth is damaged \(.*it is compressed"):
    read_arrays(tmp_path / "bomb.pth")
  assert tracemalloc.get_traced_memory()[1] < 1e6
  tracemalloc.stop()


@pytest.mark.parametrize(
  ("shape", "strides"), [((10**12,), (0,)), ((2**40, 2**40), (0, 0)), ((7,), (0,))]
)
def test_one_number_is_not_made_many(shape, strides):
  with pytest.raises(pickle.UnpicklingError, match="more numbers than its storage"):
    torch_file._tensor(np.zeros(6, np.float32), 0, shape, strides)


@pytest.mark.parametrize(
  "content",
  [
    b"\x80\x02}r\xff\xff\xff\x7f.",  # its memo would take 32 GB
    b"\x80\x02}p9999999999999\n.",
    b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes that are not there
    b"\x80\x02X\xff\xff\xff\x7fa.",
    b"\x80\x09.",
    b"(" * 50,
    b"",
  ],
)
def test_a_forged_pickle_is_refused_in_one_sentence_and_little_room(tmp_path, content):
  path = packed(tmp_path / "forged.pth", content)
  tracemalloc.start()
  with pytest.raises(ValueError, match=r"forged\.pth is damaged") as caught:
    read_arrays(path)
  assert tracemalloc.get_traced_memory()[1] < 1e6
  tracemalloc.stop()
  assert "\n" not in str(caught.value)


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
