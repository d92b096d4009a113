"""The same training on every mesh, and where its arrays lie."""

import itertools
import json
import types
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from toys import masked, rig

from mdm.training import sharding
from mdm.training.checkpoint import open_checkpoints
from mdm.training.keys import stream_keys
from mdm.training.settings import Optimizer, Sharding
from mdm.training.state import leaf_paths
from mdm.training.step import StepSettings

MESHES = ((1, 1), (8, 1), (1, 8), (2, 4), (4, 2))
PRESETS = ("dp", "fsdp", "fsdp+tp", "sequence")
ADAM = Optimizer(name="adamw", warmup=0)
TABLE = Path(__file__).with_name("shardings.json")


def place(mesh, preset, **settings):
  """The toy on a mesh of data x fsdp devices, or of fsdp x tensor or sequence ones.

  A third number is of data devices then.
  """
  a, b, c = mesh if len(mesh) == 3 else (*mesh, 1)
  shapes = {"fsdp+tp": (c, a, b), "sequence": (c, a, 1, b)}
  shape = shapes.get(preset, (a, b, 1))
  return rig.make_rig(devices=a * b * c, shape=shape, preset=preset, **settings)


@pytest.fixture(scope="module")
def alone():
  made = place((1, 1), "dp")
  losses, state = [], made.make_state()
  for _ in range(3):
    state, metrics = made.run(1, state)
    losses.append({name: float(value) for name, value in metrics.items()})
  return losses, rig.leaves(state.params)


@pytest.mark.parametrize(
  ("mesh", "preset"),
  [
    *itertools.product(MESHES, PRESETS),
    ((2, 2, 2), "fsdp+tp"),
    ((2, 2, 2), "sequence"),
  ],
  ids=str,
)
def test_three_sgd_steps_are_the_same_on_every_mesh(alone, mesh, preset):
  made, (expected, params) = place(mesh, preset), alone
  state = made.make_state()
  for before in expected:
    state, metrics = made.run(1, state)
    assert float(metrics["mask/sum"]) == before["mask/sum"]
    assert float(metrics["loss"]) == pytest.approx(before["loss"], rel=1e-6)
  for name, leaf in rig.leaves(state.params).items():
    np.testing.assert_allclose(leaf, params[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mesh", MESHES[1:], ids=lambda m: f"{m[0]}x{m[1]}")
def test_masks_are_the_same_on_every_mesh_and_in_every_order(mesh):
  method = masked.ToyMasked(masked.Mixer())
  rows = masked.make_batch(3, 16)

  def draw(batch):
    return method.apply({}, batch, rngs=stream_keys(0, 3), method="hide")

  expected = np.asarray(draw(rows))
  made = sharding.make_mesh(Sharding("fsdp", *mesh, 1))
  with jax.set_mesh(made):
    assert (np.asarray(jax.jit(draw)(sharding.put_batch(made, rows))) == expected).all()
    turned = {name: np.ascontiguousarray(x[::-1]) for name, x in rows.items()}
    found = np.asarray(jax.jit(draw)(sharding.put_batch(made, turned)))
  assert (found == expected[::-1]).all()


@pytest.mark.parametrize(
  ("mesh", "preset"),
  [((2, 4), "fsdp"), ((2, 4), "fsdp+tp"), ((2, 2, 2), "sequence"), ((1, 1), "dp")],
)
def test_a_state_saved_on_eight_devices_restarts_on_any_mesh(tmp_path, mesh, preset):
  settings = {"optimizer": ADAM, "settings": StepSettings(ema=0.9)}
  eight, other = place((8, 1), "dp", **settings), place(mesh, preset, **settings)
  state, _ = eight.run(2)
  saved = rig.leaves(state)
  restored = move(state, other.abstract, tmp_path / "there")
  assert rig.differing(saved, rig.leaves(restored)) == []
  wanted = leaf_paths(other.abstract)
  for name, leaf in leaf_paths(restored).items():
    assert leaf.sharding.is_equivalent_to(wanted[name].sharding, leaf.ndim), name
  back = move(restored, eight.abstract, tmp_path / "back")
  assert rig.differing(saved, rig.leaves(back)) == []
  (_, a), (_, b) = eight.run(1, back), other.run(1, restored)
  assert float(b["loss"]) == pytest.approx(float(a["loss"]), rel=1e-6)


def move(state, target, folder):
  """The state, saved and restored as the target wants it."""
  checkpoints = open_checkpoints(folder, keep=1)
  checkpoints.save(state, {})
  restored = checkpoints.restore(target)
  checkpoints.close()
  return restored


RULES = ["adafactor", "adamw", "lamb", "lars", "lion", "muon", "sgd"]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("frozen", [False, True])
def test_optimiser_and_average_lie_where_their_parameters_lie(name, frozen):
  kind = masked.Frozen if frozen else masked.ToyMasked
  made = place(
    (2, 4), "fsdp+tp", method=kind(masked.Mixer()), settings=StepSettings(ema=0.9),
    optimizer=Optimizer(name=name),
  )  # fmt: skip
  leaves = leaf_paths(made.abstract)
  params = {
    n.removeprefix("params/"): x for n, x in leaves.items() if n.startswith("par")
  }
  cut = {
    n for n, x in params.items() if x.sharding.spec != PartitionSpec(*[None] * x.ndim)
  }
  assert "network/block_0/kernel" in cut
  followers = 0
  for path, leaf in leaves.items():
    mine = [
      n for n in params if path.endswith("/" + n) and leaf.shape == params[n].shape
    ]
    for owner in mine:
      followers += 1
      assert leaf.sharding == params[owner].sharding, path
  moments = 2 if name in ("adafactor", "adamw", "lamb") else 1
  assert followers >= 2 * len(params) + moments * (len(params) - frozen)


def test_rows_and_columns_of_second_moments_are_cut_as_their_matrices():
  settings = {
    "method": masked.ToyMasked(masked.Mixer(width=128)),
    "optimizer": Optimizer(name="adafactor", b1=0.0, warmup=0),
  }
  eight, alone = place((1, 8), "fsdp", **settings), place((1, 1), "dp", **settings)
  leaves = leaf_paths(eight.abstract.opt_state)
  kept = {n: x for n, x in leaves.items() if n.endswith("block_0/kernel") and x.ndim}
  specs = {x.shape: [s.sharding.spec for s in kept.values() if s.shape == x.shape]
           for x in kept.values()}  # fmt: skip
  assert specs == {(128,): [PartitionSpec("fsdp")] * 2, (1,): [PartitionSpec()]}
  (state, _), (expected, _) = eight.run(2), alone.run(2)
  for name, leaf in rig.leaves(expected).items():
    np.testing.assert_allclose(rig.leaves(state)[name], leaf, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("shape", "spec"),
  [
    ((12, 64, 32), (None, "fsdp", None)),
    ((12, 64), (None, "fsdp")),
    ((12, 32), (None, None)),
    ((64, 32), ("fsdp", None)),
    ((1,), ()),
    ((), ()),
  ],
)
def test_what_is_kept_of_a_parameter_is_cut_along_the_axes_that_it_has(shape, spec):
  mesh = sharding.make_mesh(Sharding("fsdp", 1, 8, 1))
  cut = jax.sharding.NamedSharding(mesh, PartitionSpec(None, "fsdp"))
  param, leaf = (jax.ShapeDtypeStruct(s, float) for s in ((12, 64, 32), shape))
  found = sharding._follow(leaf, param, cut).spec
  assert found + (None,) * (len(spec) - len(found)) == PartitionSpec(*spec)


def test_a_dimension_that_does_not_divide_stays_whole():
  mesh = sharding.make_mesh(Sharding("fsdp", 1, 8, 1))
  cut = jax.sharding.NamedSharding(mesh, PartitionSpec("fsdp", None))
  odd, even = (
    jax.ShapeDtypeStruct((17, 32), float),
    jax.ShapeDtypeStruct((16, 3), float),
  )
  assert sharding._fit(odd, cut).spec == PartitionSpec(None, None)
  assert sharding._fit(even, cut).spec == PartitionSpec("fsdp", None)


def test_of_several_axes_that_cut_a_dimension_those_stay_that_divide_it():
  mesh = sharding.make_mesh(Sharding("sequence", 1, 2, 1, 4))
  cut = jax.sharding.NamedSharding(mesh, PartitionSpec(("fsdp", "sequence")))
  for size, spec in ((16, ("fsdp", "sequence")), (6, "fsdp"), (3, None)):
    leaf = jax.ShapeDtypeStruct((size,), float)
    assert sharding._fit(leaf, cut).spec == PartitionSpec(spec)


def test_every_preset_knows_every_name_a_model_may_use():
  names = {"embed", "mlp", "heads", "kv", "vocab"}
  for preset in PRESETS:
    assert {name for name, _ in sharding.RULES[preset]} == names
  assert nn.logical_to_mesh_axes(("embed", "mlp"), sharding.RULES["fsdp+tp"]) == (
    PartitionSpec("fsdp", "tensor")
  )
  assert nn.logical_to_mesh_axes(("mlp", "embed"), sharding.RULES["sequence"]) == (
    PartitionSpec(None, ("fsdp", "sequence"))
  )


@pytest.mark.parametrize(
  ("cfg", "shape"),
  [
    (Sharding("dp"), (8, 1, 1, 1)),
    (Sharding("fsdp"), (1, 8, 1, 1)),
    (Sharding("fsdp+tp"), (1, 4, 1, 2)),
    (Sharding("sequence"), (1, 4, 2, 1)),
    (Sharding("sequence", sequence=8), (1, 1, 8, 1)),
    (Sharding("fsdp", data=2), (2, 4, 1, 1)),
    (Sharding("dp", fsdp=4), (2, 4, 1, 1)),
    (Sharding("fsdp+tp", data=2, tensor=4), (2, 1, 1, 4)),
    (Sharding("fsdp+tp", sequence=2), (1, 2, 2, 2)),
    (Sharding("fsdp", data=-1, fsdp=2), (4, 2, 1, 1)),
  ],
)
def test_a_mesh_uses_all_devices(cfg, shape):
  assert tuple(sharding.make_mesh(cfg).shape.values()) == shape


def make_slices(count, size):
  """Devices that are not there: so many slices of so many."""
  return [
    types.SimpleNamespace(
      id=k, slice_index=k % count, process_index=k % count, platform="cpu",
      device_kind="none",
    )
    for k in range(count * size)
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("cfg", "shape"),
  [
    (Sharding("fsdp"), (2, 4, 1, 1)),
    (Sharding("fsdp+tp"), (2, 2, 1, 2)),
    (Sharding("sequence", sequence=4), (2, 1, 4, 1)),
    (Sharding("dp"), (8, 1, 1, 1)),
    (Sharding("fsdp", data=1), (1, 8, 1, 1)),
    (Sharding("fsdp", data=4), (4, 2, 1, 1)),
  ],
)
def test_slices_lie_along_the_batch_and_all_else_stays_within_one(cfg, shape):
  placed = sharding.place_devices(cfg, make_slices(2, 4))
  assert placed.shape == shape
  of_slice = np.vectorize(lambda device: device.slice_index)(placed)
  rows = of_slice.reshape(shape[0] * shape[1], -1)
  assert (rows == rows[:, :1]).all()  # what cuts no batch talks within its slice
  assert rows[:, 0].tolist() == sorted(rows[:, 0])  # neighbours are together
  if shape[0] % 2 == 0:  # and so are those that share a row of parameters
    assert (of_slice == of_slice[:, :1]).all()


def test_four_slices_may_lie_along_both_axes_of_the_batch_but_along_no_other():
  placed = sharding.place_devices(Sharding("fsdp", data=2), make_slices(4, 2))
  assert placed.shape == (2, 4, 1, 1)
  short = Sharding("fsdp+tp", data=1, fsdp=2, tensor=4)
  with pytest.raises(ValueError, match="no multiple of 4 slices; leave sharding"):
    sharding.place_devices(short, make_slices(4, 2))


def test_processes_may_share_parameters_but_no_rows_of_the_batch():
  devices = make_slices(2, 4)  # a process each
  for cfg in (Sharding("fsdp"), Sharding("sequence", sequence=4), Sharding("dp")):
    sharding.check_rows(sharding.place_devices(cfg, devices))
  crossed = np.array(devices, object).reshape(1, 1, 8, 1)
  with pytest.raises(ValueError, match="a divisor of the 4 devices of a process"):
    sharding.check_rows(crossed)


def abstract(shape, names):
  """A parameter's shape with names for its axes, alone in its tree."""
  value = jax.ShapeDtypeStruct(shape, np.float32)
  return {"table": nn.LogicallyPartitioned(value, names)}


def check(shape, names, preset="fsdp", mesh=(1, 8, 1)):
  """What `check_cut` says of one parameter."""
  boxed = abstract(shape, names)
  made = sharding.make_mesh(Sharding(preset, *mesh))
  logical = nn.get_partition_spec(boxed)
  wanted = nn.logical_to_mesh_sharding(logical, made, sharding.RULES[preset])
  params = nn.meta.unbox(boxed)
  placed = jax.tree.map(sharding._fit, params, wanted)
  sharding.check_cut(params, sharding.axis_names(boxed), placed, preset=preset)


@pytest.mark.parametrize(
  ("shape", "names", "reason"),
  [
    ((4_100, 1_025), ("vocab", "embed"), "none of its axes is divided by fsdp=8"),
    ((4_100, 1_024), (None, "kv"), "none of its axes has a name of embed; give it"),
    ((4_100, 1_024), (None, None), "parameter table of 4100 x 1024 .16 MiB. would lie"),
  ],
)
def test_a_large_parameter_that_would_lie_whole_is_refused(shape, names, reason):
  with pytest.raises(ValueError, match=reason):
    check(shape, names)


@pytest.mark.parametrize(
  "case",
  [
    {"shape": (4_100, 1_024), "names": ("vocab", "embed")},
    {"shape": (1_025, 4_096), "names": ("embed", "mlp"), "preset": "fsdp+tp",
     "mesh": (1, 4, 2)},
    {"shape": (4_100, 1_025), "names": ("vocab", "embed"), "preset": "dp"},
    {"shape": (4_100, 1_025), "names": ("vocab", "embed"), "mesh": (8, 1, 1)},
    {"shape": (100, 1_025), "names": ("vocab", "embed")},
  ],
  ids=["cut", "cut otherwise", "not to be cut", "by no devices", "small"],
)  # fmt: skip
def test_parameters_may_lie_whole_where_the_rules_or_their_size_say_so(case):
  check(**case)


def test_a_training_does_not_begin_with_a_large_parameter_whole():
  wide = masked.ToyMasked(masked.Mixer(width=2_049))
  with pytest.raises(ValueError, match=r"block_0/kernel of 2049 x 2049"):
    place((1, 8), "fsdp", method=wide)


def test_parameters_have_names_for_their_axes_by_path():
  boxed = abstract((3, 4, 5), (None, "embed")) | {"bare": jnp.zeros((2, 2))}
  assert sharding.axis_names(boxed) == {
    "table": (None, "embed", None),
    "bare": (None, None),
  }


@pytest.mark.parametrize(
  "cfg", [Sharding("dp", 3), Sharding("dp", -1, -1), Sharding("dp", 16)]
)
def test_a_mesh_that_does_not_multiply_to_the_devices_is_refused(cfg):
  with pytest.raises(
    ValueError, match="does not multiply to 8 devices; leave one axis at -1"
  ):
    sharding.make_mesh(cfg)


def test_a_batch_that_does_not_divide_is_refused():
  mesh = sharding.make_mesh(Sharding("dp"))
  sharding.check_batch_divides(mesh, 32, 4)
  with pytest.raises(ValueError, match="use a multiple of 32"):
    sharding.check_batch_divides(mesh, 48, 4)


def test_the_sharding_table_is_the_one_checked_in():
  """After a wanted change: write `sharding_table()` into the file as JSON."""
  assert sharding_table() == json.loads(TABLE.read_text())["toy"]


def sharding_table():
  """Where each parameter of the toy lies, per preset, on 2 x 4 devices."""
  return {
    preset: {
      name: [str(axis) for axis in leaf.sharding.spec]
      for name, leaf in leaf_paths(place((2, 4), preset).abstract).items()
      if name.startswith("params/")
    }
    for preset in PRESETS
  }
