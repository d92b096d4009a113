"""Safetensors files: what is written is read, and what is damaged or forged is not."""

import json
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.interop import safetensors


def make_tree(seed=0):
  rng = np.random.default_rng(seed)
  return {
    "params": {
      "dense": {"kernel": rng.standard_normal((3, 4)).astype(np.float32)},
      "scale": np.float32(rng.standard_normal()).reshape(()),
    },
    "stats": {"count": np.arange(3, dtype=np.int32), "seen": np.array([True, False])},
  }


@pytest.fixture
def path(tmp_path):
  place = tmp_path / "model.safetensors"
  safetensors.save_variables(make_tree(), place, {"step": "7"})
  return place


def test_the_same_variables_give_the_same_bytes(tmp_path):
  texts = {f"key {k}": 'a "quoted" caf\u00e9\n\x01\x7f\u2028' for k in range(9)}
  found = set()
  for k in range(6):
    safetensors.save_variables(make_tree(), tmp_path / f"{k}", texts)
    found.add((tmp_path / f"{k}").read_bytes())
    assert safetensors.read_arrays(tmp_path / f"{k}")[1].items() >= texts.items()
  assert len(found) == 1


def shapes_of(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def test_what_is_saved_is_loaded_bit_for_bit(path):
  tree, header = safetensors.load_variables(path, shapes_of(make_tree()))
  assert jax.tree.structure(tree) == jax.tree.structure(make_tree())
  for found, saved in zip(
    jax.tree.leaves(tree), jax.tree.leaves(make_tree()), strict=True
  ):
    assert found.dtype == saved.dtype and (np.asarray(found) == saved).all()
  assert header["step"] == "7"


def test_bfloat16_is_kept_in_the_file_and_widened_when_wanted(tmp_path):
  tree = safetensors.cast_floats(make_tree(), "bfloat16")
  safetensors.save_variables(tree, tmp_path / "half")
  arrays, _ = safetensors.read_arrays(tmp_path / "half")
  assert arrays["params/dense/kernel"].dtype == jnp.bfloat16
  assert arrays["stats/count"].dtype == np.int32
  wide, _ = safetensors.load_variables(tmp_path / "half", shapes_of(make_tree()))
  kernel, exact = wide["params"]["dense"]["kernel"], make_tree()["params"]["dense"]
  assert kernel.dtype == jnp.float32
  # eight bits of precision: half a unit in the last place is 2^-8 of the value
  assert np.allclose(kernel, exact["kernel"], rtol=2**-8, atol=0)


def test_all_differences_are_told_at_once(path):
  target = make_tree()
  target["params"]["dense"] = {"kernel": np.zeros((4, 3)), "bias": np.zeros(3)}
  del target["stats"]["seen"]
  with pytest.raises(ValueError) as caught:
    safetensors.load_variables(path, shapes_of(target))
  message = str(caught.value)
  assert "missing (1): params/dense/bias" in message
  assert "unexpected (1): stats/seen" in message
  assert "params/dense/kernel is [3, 4] there, [4, 3] here" in message


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_cut_file_is_refused_in_one_sentence(path, kept):
  path.write_bytes(path.read_bytes()[:kept])
  with pytest.raises(ValueError, match=r"is damaged .*export it again") as caught:
    safetensors.read_arrays(path)
  assert "\n" not in str(caught.value)


def test_one_changed_bit_is_noticed(path):
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(bytes(content))
  with pytest.raises(ValueError, match="checksum differs"):
    safetensors.read_arrays(path)


def forged(header, content=b"", size=None):
  """A file with a header as told, its size as true or as told."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return (len(text) if size is None else size).to_bytes(8, "little") + text + content


def entry(shape, end, dtype="F32"):
  return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


FORGED = {
  "a header longer than the file": forged(b"{}", size=2**40),
  "a header of eight exabytes": forged(b"{}", size=2**63 + 7),
  "a header of 90 MB that is not there": forged(b"{}", size=90_000_000),
  "a header that is no JSON": forged(b"{'a': 1}"),
  "a header that is a list": forged([1, 2]),
  "an array larger than the file": forged({"a": entry([2**40], 2**42)}, bytes(16)),
  "a shape that overflows": forged({"a": entry([2**62, 2**62], 16)}, bytes(16)),
  "a shape that its bytes do not hold": forged({"a": entry([2**40], 16)}, bytes(16)),
  "a negative side": forged({"a": entry([-4], 16)}, bytes(16)),
  "bytes that no array owns": forged({"a": entry([2], 8)}, bytes(16)),
  "an unknown dtype": forged({"a": entry([4], 16, "F37")}, bytes(16)),
  "overlapping arrays": forged({"a": entry([4], 16), "b": entry([4], 16)}, bytes(16)),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_header_is_refused_without_making_room_for_it(tmp_path, case):
  path = tmp_path / "a.safetensors"
  path.write_bytes(FORGED[case])
  tracemalloc.start()
  for read in (safetensors.read_arrays, safetensors.is_half):
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged") as caught:
      read(path)
    assert "\n" not in str(caught.value)
  assert safetensors.read_header(path) == {}
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 1e6


def test_names_that_climb_out_of_a_folder_are_only_names(tmp_path, path):
  from safetensors.numpy import save_file

  place = tmp_path / "deep/down"
  place.mkdir(parents=True)
  names = ["../../up", "/etc/up", "params/../up", "params//dense"]
  save_file({name: np.ones(2, np.float32) for name in names}, place / "a.safetensors")
  before = sorted(tmp_path.rglob("*"))
  with pytest.raises(
    ValueError, match=r"unexpected \(4\): \.\./\.\./up, /etc/up, params"
  ):
    safetensors.load_variables(place / "a.safetensors", shapes_of(make_tree()))
  assert sorted(tmp_path.rglob("*")) == before


def test_a_file_of_others_without_a_checksum_is_read(tmp_path):
  from safetensors.numpy import save_file

  save_file({"a": np.ones(2, np.float32)}, tmp_path / "theirs")
  arrays, header = safetensors.read_arrays(tmp_path / "theirs")
  assert arrays["a"].tolist() == [1, 1] and header == {}


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"nowhere\.safetensors does not exist"):
    safetensors.read_arrays(tmp_path / "nowhere.safetensors")


def test_saving_again_replaces_and_leaves_nothing_behind(path):
  safetensors.save_variables(make_tree(1), path)
  tree, _ = safetensors.load_variables(path, shapes_of(make_tree()))
  assert (tree["params"]["scale"] == make_tree(1)["params"]["scale"]).all()
  assert [p.name for p in path.parent.iterdir()] == [path.name]
  assert path.stat().st_mode & 0o444 == 0o444
