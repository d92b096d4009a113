"""Topologies by name; with libtpu (`-m slow`), the kernels compiled for them."""

import types

import jax
import jax.numpy as jnp
import pytest

from mdm.kernels import tpu
from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals
from mdm.kernels.tiles import Saved, Tiles
from mdm.training import sharding, topology
from mdm.training.settings import Sharding

needs_libtpu = pytest.mark.skipif(
  not topology.has_libtpu(), reason="libtpu is not installed"
)


@pytest.mark.parametrize(
  "name",
  ["v5e", "v3:2x2", "v5e:", "v5e:2", "v5e:2x2x2x2", "2x2", "0*v5e:2x2", "*v5e:2x2"],
)
def test_a_name_that_is_none_is_answered_with_some(name):
  with pytest.raises(ValueError, match=r"as in v5e:2x4 or v5p:2x2x1"):
    topology.describe_tpus(name)


@pytest.mark.parametrize(
  ("name", "nearest"),
  [
    ("v6:2x2", "the nearest kind is v6e"),
    ("v5e:3x5", "the nearest are v5e:4x4, v5e:2x8, v5e:2x4"),
    ("v5e:2x2x2", "v5e has 2 axes, .* the nearest are v5e:2x4,"),
    ("2*v5p:4x4", "v5p has 3 axes, .* the nearest are v5p:2x2x4,"),
    ("v5e:0x2", "the nearest are v5e:2x2"),
  ],
)
def test_a_topology_that_does_not_exist_is_answered_with_the_nearest(name, nearest):
  with pytest.raises(ValueError, match=nearest):
    topology.read_name(name)


def test_a_name_is_slices_a_kind_and_a_shape():
  assert topology.read_name("v5e:2x4") == (1, "v5e", (2, 4))
  assert topology.read_name("16*v5p:8x8x1") == (16, "v5p", (8, 8, 1))


def test_without_the_compiler_the_remedy_is_its_installation(monkeypatch):
  monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="pip install libtpu"):
    topology.describe_tpus("v5e:2x2")


def test_the_assembler_is_that_of_the_packages_or_that_on_the_path(
  monkeypatch, tmp_path
):
  found = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
  monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: found)
  monkeypatch.setattr(topology.shutil, "which", lambda name: "/usr/cuda/bin/ptxas")
  assert topology.find_assembler() == "/usr/cuda/bin"
  tool = tmp_path / "cuda_nvcc" / "bin" / "ptxas"
  tool.parent.mkdir(parents=True)
  tool.write_text("")
  assert topology.find_assembler() == str(tool.parent)
  monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(topology.shutil, "which", lambda name: None)
  assert topology.find_assembler() is None and not topology.has_cuda_compiler()


def test_gpus_have_names():
  with pytest.raises(ValueError, match="'h201' is none of h200"):
    topology.describe_gpu("h201")


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize(
  ("name", "count"),
  [("v5e:1x1", 1), ("v5e:2x4", 8), ("v6e:2x2", 4), ("v5p:8x8x8", 512), ("v4:2x2x1", 4)],
)
def test_a_topology_has_a_device_per_chip(name, count):
  devices = topology.describe_tpus(name)
  assert len(devices) == count
  assert all(device.platform == "tpu" for device in devices)


@pytest.mark.slow
@needs_libtpu
def test_slices_are_told_apart_and_each_has_whole_rows_of_the_batch():
  devices = list(topology.describe_tpus("2*v5e:2x4"))
  assert [d.slice_index for d in devices] == [0] * 8 + [1] * 8
  mesh = sharding.make_mesh(Sharding("fsdp"), devices)
  assert tuple(mesh.shape.values()) == (2, 8, 1, 1)
  for k in (0, 1):
    assert {d.slice_index for d in mesh.devices[k].flat} == {k}


def make_shapes(device, dtype, width):
  """32 tiles of 512 rows and 2,048 keys, and what is saved of them."""
  t, r, m = 32, 512, 2048
  place = jax.sharding.SingleDeviceSharding(device)

  def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=place)

  tiles = Tiles(
    shape(t, r, width, dtype=dtype),
    *(shape(t, m, width, dtype=dtype),) * 2,
    shape(t, m),
    *(shape(t, m, dtype=jnp.int32),) * 2,
    shape(t, r, dtype=jnp.int32),
  )
  return tiles, Saved(shape(t, r), shape(t, r, width, dtype=dtype), shape(t, r))


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("name", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_both_passes_compile_within_the_memory_of_each_chip(name, width, dtype):
  tiles, saved = make_shapes(topology.describe_tpus(name)[0], dtype, width)

  def both(tiles, saved):
    return tpu.forward(tiles, 0.125), tpu.backward(tiles, 0.125, saved)

  compiled = jax.jit(both).lower(tiles, saved).compile()
  assert compiled.as_text().count('"tpu_custom_call"') == 3
  # Scores of one pass alone would take 32 x 512 x 2,048 numbers of 4 bytes, 128 MiB.
  assert compiled.memory_analysis().temp_size_in_bytes < 128 * 2**20


@pytest.mark.slow
@needs_libtpu
def test_a_dynamic_mask_over_a_pod_slice_sends_nothing_between_chips():
  devices = list(topology.describe_tpus("v5e:2x4"))
  mesh = sharding.make_mesh(Sharding(preset="fsdp"), devices)

  def loss(query, key, value, score):
    end = eviction_times(score, 256)
    intervals = Intervals(jnp.arange(2048)[None, None], end)
    out, _ = interval_attention(query, key, value, intervals, bias=score, width=256)
    return out.astype(jnp.float32).sum()

  def shape(*sizes, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=sharding.batch_sharding(mesh))

  arrays = [shape(8, 2048, heads, 64) for heads in (4, 2, 2)]
  arrays.append(shape(8, 2, 2048, dtype=jnp.float32))
  with jax.set_mesh(mesh):
    text = jax.jit(jax.grad(loss, (0, 1, 2, 3))).lower(*arrays).compile().as_text()
  assert text.count('"tpu_custom_call"') == 3
  assert not any(x in text for x in ("all-gather", "all-to-all", "collective-permute"))
