import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from mdm.training.collectives import (
  Collective,
  count_runs,
  find_collectives,
  read_groups,
  sum_by_axes,
)

SHAPE = {"data": 2, "fsdp": 4}
X = jax.ShapeDtypeStruct((8, 16), jnp.float32)


@pytest.fixture(scope="module")
def mesh():
  """Two by four devices."""
  return jax.make_mesh(
    tuple(SHAPE.values()), tuple(SHAPE), axis_types=(AxisType.Auto,) * 2
  )


def exchanged(mesh, function, x=X):
  """What a function of each device's rows exchanges."""
  spec = PartitionSpec(("data", "fsdp"))
  mapped = jax.shard_map(function, in_specs=spec, out_specs=spec, check_vma=False)
  with jax.set_mesh(mesh):
    text = jax.jit(mapped).lower(x).compile().as_text()
  return find_collectives(text, mesh.shape)


@pytest.mark.parametrize("axis", ["data", "fsdp"])
def test_each_exchange_is_found_with_its_axis_and_size(mesh, axis):
  ways, row = SHAPE[axis], 16 * 4  # a device has one row of float32

  def gather(x):
    return jax.lax.all_gather(x, axis).sum(0)

  def scatter(x):
    big = jnp.tile(x, (ways, 1)) * jnp.arange(ways)[:, None]
    return jax.lax.psum_scatter(big, axis, tiled=True)

  def shift(x):
    return jax.lax.ppermute(x, axis, [(k, (k + 1) % ways) for k in range(ways)])

  wanted = {
    functools.partial(jax.lax.psum, axis_name=axis): ("all-reduce", row, 2 - 2 / ways),
    gather: ("all-gather", ways * row, 1 - 1 / ways),
    scatter: ("reduce-scatter", ways * row, 1 - 1 / ways),
    shift: ("collective-permute", row, 1),
  }
  for function, (kind, size, share) in wanted.items():
    (found,) = exchanged(mesh, function)
    members = 2 if kind == "collective-permute" else ways
    assert found == Collective(kind, (axis,), members, size)
    assert found.sent == pytest.approx(share * size)


def test_what_goes_along_both_axes_names_both(mesh):
  (found,) = exchanged(mesh, lambda x: jax.lax.psum(x, ("data", "fsdp")))
  assert found == Collective("all-reduce", ("data", "fsdp"), 8, 64)


def test_a_loop_counts_as_often_as_it_turns(mesh):
  def loop(x):
    def turn(x, _):
      def inner(x, _):
        return jnp.tanh(jax.lax.psum(x, "data")), None

      return jax.lax.scan(inner, x + 1, length=5)[0], None

    return jax.lax.scan(turn, x, length=3)[0]

  (found,) = exchanged(mesh, loop)
  assert found.times == 15 and found.sent == 15 * 64


def test_sums_are_by_kind_and_axes():
  found = [
    Collective("all-gather", ("fsdp",), 4, 100, 3),
    Collective("all-gather", ("fsdp",), 4, 20),
    Collective("all-reduce", ("data",), 2, 8),
  ]
  assert sum_by_axes(found) == {
    ("all-reduce", ("data",)): (1, 8.0),
    ("all-gather", ("fsdp",)): (4, 240.0),
  }


@pytest.mark.parametrize(
  ("text", "groups"),
  [
    ("replica_groups={{0,2},{1,3}}, x", [[0, 2], [1, 3]]),
    ("replica_groups=[2,2]<=[4], x", [[0, 1], [2, 3]]),
    ("replica_groups=[2,2]<=[2,2]T(1,0), x", [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", [[0, 1, 2, 3]]),
    ("replica_groups=mesh['a'=4] {'a':(2)2}, x", [[0, 1], [2, 3]]),
    ("replica_groups=mesh['a'=4] {'a':(1)2}, x", [[0, 2], [1, 3]]),
    (
      "replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}",
      [[0, 2], [1, 3]],
    ),
    ("replica_groups={}, x", [[0, 1, 2, 3]]),
  ],
)
def test_all_ways_to_write_groups_are_read(text, groups):
  np.testing.assert_array_equal(read_groups(text, 4), groups)


TPU = """
%all-reduce-scatter.6 (input_0: f32[512,256]) -> f32[512,64] {
  %all-reduce.65 = f32[512,256]{0,1:T(8,128)} all-reduce(%input_0), channel_id=9, \
replica_groups=[2,4]<=[8], use_global_device_ids=true
}

%fused_computation.1 (p: bf16[4,64]) -> bf16[4,256] {
  %all-gather.2 = bf16[4,256]{1,0} all-gather(%p), channel_id=7, \
replica_groups=[2,4]<=[8], dimensions={1}
}

ENTRY %main (x: f32[512,256]) -> f32[512,64] {
  %ag = (bf16[4,64], bf16[4,256]) all-gather-start(%y), channel_id=7, \
replica_groups=[2,4]<=[8], dimensions={1}
  %f = f32[1] fusion(%x), kind=kCustom, calls=%fused_computation.1
  %rs = f32[512,64] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.6
}
"""


def test_a_tpus_program_is_read_each_exchange_once():
  found = find_collectives(TPU, SHAPE)
  assert sorted(found) == [
    Collective("all-gather", ("fsdp",), 4, 2 * 4 * 256),
    Collective("reduce-scatter", ("fsdp",), 4, 4 * 512 * 256),
  ]
  assert count_runs(TPU)["all-reduce-scatter.6"] == 1


CPU = """
ENTRY %main (x: f32[64]) -> f32[8] {
  %all-reduce.1 = (f32[], f32[64]{0}, f32[32]{0}) all-reduce(%a, %b, %c), \
channel_id=1, replica_groups=[1,8]<=[8]
  %g.0 = f32[] get-tuple-element(%all-reduce.1), index=0
  %g.1 = f32[64]{0} get-tuple-element(%all-reduce.1), index=1
  %g.2 = f32[32]{0} get-tuple-element(%all-reduce.1), index=2
  %norm = f32[] fusion(%g.0, %g.2), kind=kLoop, calls=%f0
  %mine = f32[8]{0} fusion(%g.1, %partition-id.3), kind=kLoop, calls=%f1
  %ours = f32[8]{0} fusion(%g.1, %norm, %partition-id.3), kind=kLoop, calls=%f2
}
"""


def test_sums_of_which_each_device_uses_its_part_are_scattered():
  found = sorted(find_collectives(CPU, {"data": 1, "fsdp": 8}))
  assert found == [
    Collective("all-reduce", ("fsdp",), 8, 4 + 128),
    Collective("reduce-scatter", ("fsdp",), 8, 256),
  ]


LOOP = """
%below (p: (s32[], f32[8])) -> pred[] {
  %limit.1 = s32[]{:T(128)} constant(12)
  %p = (s32[], f32[8]) parameter(0)
  %at = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%at, %limit.1), direction=LT
}
%turn (q: (s32[], f32[8])) -> (s32[], f32[8]) {
  %x = f32[8] all-reduce(%y), channel_id=1, replica_groups=[1,8]<=[8]
}
ENTRY %main (x: f32[8]) -> f32[8] {
  %while = (s32[], f32[8]) while(%start), condition=%below, body=%turn
}
"""


def test_a_loop_turns_as_its_condition_says_where_the_compiler_does_not():
  assert count_runs(LOOP)["turn"] == 12
  (found,) = find_collectives(LOOP, {"fsdp": 8})
  assert found.times == 12
  by_data = LOOP.replace("compare(%at, %limit.1), direction=LT", "or(%at, %x)")
  assert count_runs(by_data)["turn"] == 1
