"""Where arrays lie: a mesh of four axes, logical axis names, rules between them.

A model names its axes by meaning ("embed", "mlp", "heads", "vocab"); a preset's rules
map these names to mesh axes. A dimension that its mesh axes do not divide stays whole.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from mdm.methods.base import TEACHER
from mdm.nn.placing import BATCH_AXES, TOKEN_AXIS
from mdm.training.settings import Sharding
from mdm.training.state import State, leaf_paths, restrict

PyTree = Any
AnyMesh = Mesh | AbstractMesh  # of devices, or of their kind alone
AXES = (*BATCH_AXES, TOKEN_AXIS, "tensor")  # those that talk most are neighbours
# Bytes. Four such copies, with its gradient and two moments, are 64 MiB of each device;
# what is smaller is biases, scales and positions, which are not worth an exchange.
LARGE = 2**24
Rules = tuple[tuple[str, str | tuple[str, ...] | None], ...]

REPLICATED: Rules = tuple((n, None) for n in ("embed", "mlp", "heads", "kv", "vocab"))
RULES: dict[str, Rules] = {
  "dp": REPLICATED,
  "fsdp": (("embed", "fsdp"), *REPLICATED),
  "fsdp+tp": (
    ("embed", "fsdp"),
    ("mlp", "tensor"),
    ("heads", "tensor"),
    ("vocab", "tensor"),
    *REPLICATED,
  ),
  "sequence": (("embed", ("fsdp", TOKEN_AXIS)), *REPLICATED),
}


def make_mesh(cfg: Sharding, devices: list[jax.Device] | None = None) -> Mesh:
  """The mesh that a config asks for, over all devices; see `place_devices`.

  Raises:
    ValueError: the axes do not multiply to the number of devices, or those of the batch
      not to a multiple of their slices, or processes would share rows.
  """
  placed = place_devices(cfg, jax.devices() if devices is None else devices)
  if jax.process_count() > 1:
    check_rows(placed)
  return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def place_devices(
  cfg: Sharding, devices: list[Any]
) -> Shaped[np.ndarray, "data fsdp sequence tensor"]:
  """The devices in the order of a mesh.

  Neighbours on an axis are neighbours on the devices' torus, whose axes are split where
  they must be. Of several slices, which a slower network joins, each has whole rows of
  the batch: they lie along "data", and along "fsdp" as far as "data" is too short.

  Raises:
    ValueError: as `make_mesh`.
  """
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  shape = _mesh_shape(cfg, len(devices), slices)
  splits = devices[0].platform == "tpu"
  if slices == 1:
    return mesh_utils.create_device_mesh(
      shape, devices, allow_split_physical_axes=splits
    )
  outer = _slices_along(shape, slices)
  inner = [size // ways for size, ways in zip(shape, outer, strict=True)]
  return mesh_utils.create_hybrid_device_mesh(
    inner, outer, devices, allow_split_physical_axes=splits
  )


def check_rows(placed: Shaped[np.ndarray, "data fsdp sequence tensor"]) -> None:
  """Raises ValueError if devices of several processes would share rows of the batch.

  Each process reads rows of its own, so that they would not hold the same.
  """
  owner = np.vectorize(lambda device: device.process_index, otypes=[int])(placed)
  rows = owner.reshape(placed.shape[0] * placed.shape[1], -1)
  if (rows != rows[:, :1]).any():
    most = int((owner == owner.flat[0]).sum())
    raise ValueError(
      f"sharding sequence={placed.shape[2]} x tensor={placed.shape[3]} reaches over "
      f"several processes, of which each reads rows of its own; make it a divisor of "
      f"the {most} devices of a process."
    )


def _slices_along(shape: tuple[int, ...], slices: int) -> tuple[int, ...]:
  """How many slices lie along each axis of the mesh."""
  data = math.gcd(shape[0], slices)
  fsdp = math.gcd(shape[1], slices // data)
  if data * fsdp != slices:
    raise ValueError(
      f"sharding data={shape[0]} x fsdp={shape[1]} is no multiple of {slices} slices; "
      f"leave sharding.data at 0, or make it {slices}."
    )
  return (data, fsdp, *[1] * (len(shape) - 2))


def _mesh_shape(cfg: Sharding, count: int, slices: int = 1) -> tuple[int, ...]:
  sizes = {axis: getattr(cfg, axis) for axis in AXES}
  rest = "data" if cfg.preset == "dp" else "fsdp"
  for axis, preset in (("tensor", "fsdp+tp"), (TOKEN_AXIS, "sequence")):
    if sizes[axis] == 0:
      sizes[axis] = 2 if cfg.preset == preset and count % 2 == 0 else 1
  if -1 not in sizes.values() and sizes[rest] == 0:
    sizes[rest] = -1
  if sizes["data"] == 0:
    sizes["data"] = slices
  shape = {axis: size or 1 for axis, size in sizes.items()}
  known = math.prod(s for s in shape.values() if s > 0)
  filled = tuple(count // known if s == -1 else s for s in shape.values())
  if list(shape.values()).count(-1) > 1 or math.prod(filled) != count:
    asked = " x ".join(f"{axis}={size}" for axis, size in sizes.items())
    raise ValueError(
      f"sharding {asked} does not multiply to {count} devices; leave one axis at -1."
    )
  return filled


def replicated(mesh: AnyMesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def put_everywhere(sharding: NamedSharding, value: np.generic) -> jax.Array:
  """A number on all devices, those of other processes too."""
  return jax.make_array_from_callback((), sharding, lambda _: np.asarray(value))


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
  """The sharding of a batch: cut along its first axis over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch_divides(mesh: AnyMesh, batch: int, accumulate: int) -> None:
  """Raises ValueError unless every micro-batch divides evenly over the devices."""
  ways = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  if (batch // accumulate) % ways:
    raise ValueError(
      f"train.batch = {batch} over train.accumulate = {accumulate} does not divide "
      f"over {ways} devices; use a multiple of {ways * accumulate}."
    )


def put_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
  """The global, sharded batch of which this process has these rows."""
  sharding = batch_sharding(mesh)
  return {
    name: jax.make_array_from_process_local_data(sharding, array)
    for name, array in batch.items()
  }


def state_shardings(
  state: State,
  boxed_params: PyTree,
  optimizer: optax.GradientTransformation,
  *,
  mesh: AnyMesh,
  preset: str,
) -> State:
  """A sharding for every leaf; optimiser, average and teacher follow parameters.

  Where an optimiser keeps a parameter's mean along an axis, the rest lies as it does.

  Args:
    state: the state's shapes (from `jax.eval_shape`).
    boxed_params: the parameters' shapes with logical axis names attached.
    optimizer: the transformation whose state is to be sharded.
    mesh: the devices.
    preset: name of the rules.

  Raises:
    ValueError: a large parameter would lie whole on every device, see `check_cut`.
  """
  logical = nn.get_partition_spec(boxed_params)
  wanted = nn.logical_to_mesh_sharding(logical, cast(Mesh, mesh), RULES[preset])
  params = jax.tree.map(_fit, state.params, wanted)
  check_cut(state.params, axis_names(boxed_params), params, preset=preset)
  whole = replicated(mesh)
  opt_state = optax.tree_map_params(
    optimizer,
    lambda leaf, param, sharding: (
      leaf if _is_hole(leaf) else _follow(leaf, param, sharding)
    ),
    state.opt_state,
    state.params,
    params,
    transform_non_params=lambda _: whole,
    is_leaf=_is_hole,
  )
  rest = jax.tree.map(lambda _: whole, state)
  collections = dict(rest.collections)
  if TEACHER in collections:
    collections[TEACHER] = restrict(params, collections[TEACHER])
  return rest.replace(
    params=params,
    opt_state=opt_state,
    collections=collections,
    ema=None if state.ema is None else params,
  )


def axis_names(boxed_params: PyTree) -> dict[str, tuple[str | None, ...]]:
  """The logical names of each parameter's axes, by its path.

  Args:
    boxed_params: the parameters, or their shapes, with names attached.
  """
  specs = leaf_paths(nn.get_partition_spec(boxed_params))
  leaves = leaf_paths(nn.meta.unbox(boxed_params))
  return {
    path: (*spec, *[None] * (leaves[path].ndim - len(spec)))
    for path, spec in specs.items()
  }


def check_cut(
  params: PyTree,
  names: Mapping[str, tuple[str | None, ...]],
  shardings: PyTree,
  *,
  preset: str,
) -> None:
  """Raises ValueError if a large parameter is whole where the preset cuts parameters.

  Its axes have no names that the rules know, or the devices divide none of them. Where
  the mesh has one device along all axes of the rules, nothing is expected of them.
  """
  placed = leaf_paths(shardings)
  for path, leaf in leaf_paths(params).items():
    sizes, sharding = placed[path].mesh.shape, placed[path]
    rules = {name: axes for name, axes in _cuts(preset).items() if axes}
    ways = {axis: sizes[axis] for axes in rules.values() for axis in axes}
    size = leaf.size * leaf.dtype.itemsize
    if size < LARGE or math.prod(ways.values()) == 1 or any(sharding.spec):
      continue
    shape = " x ".join(map(str, leaf.shape))
    told = ", ".join(f"{axis}={n}" for axis, n in ways.items() if n > 1)
    reason = f"none of its axes is divided by {told}; change its sizes, or the mesh"
    if not any(name in rules for name in names[path]):
      reason = (
        f"none of its axes has a name of {', '.join(rules)}; give it names with "
        "`mdm.nn.layers.named`"
      )
    raise ValueError(
      f"parameter {path} of {shape} ({size / 2**20:.0f} MiB) would lie whole on every "
      f"device, though sharding.preset = {preset!r} cuts parameters: {reason}."
    )


def _cuts(preset: str) -> dict[str, tuple[str, ...]]:
  """The mesh axes that cut an axis of each name; of several rules the first counts."""
  rules: dict[str, tuple[str, ...]] = {}
  for name, axes in RULES[preset]:
    found = () if axes is None else (axes,) if isinstance(axes, str) else axes
    rules.setdefault(name, found)
  return rules


def _is_hole(leaf: Any) -> bool:
  """Whether an optimiser that serves only some parameters left this one out."""
  return isinstance(leaf, optax.MaskedNode)


def _follow(
  leaf: jax.ShapeDtypeStruct, param: jax.ShapeDtypeStruct, sharding: NamedSharding
) -> NamedSharding:
  """The sharding of what an optimiser keeps of a parameter.

  That is an array of its shape, or without one of its axes; of two axes as long, the
  one is taken to be gone that leaves the other cut. Anything else is whole.
  """
  if leaf.shape == param.shape:
    return sharding
  spec = tuple(sharding.spec) + (None,) * (param.ndim - len(sharding.spec))
  kept = [
    spec[:axis] + spec[axis + 1 :]
    for axis in range(param.ndim)
    if leaf.shape == param.shape[:axis] + param.shape[axis + 1 :]
  ]
  most = max(kept, key=lambda axes: sum(x is not None for x in axes), default=())
  return NamedSharding(sharding.mesh, PartitionSpec(*most))


def _fit(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> NamedSharding:
  """The sharding without the axes that do not divide the leaf's dimensions.

  Of several axes that cut one dimension, the last are left out first.
  """
  mesh, spec = sharding.mesh, sharding.spec
  fitted: list[str | tuple[str, ...] | None] = []
  for size, axes in zip(leaf.shape, tuple(spec) + (None,) * leaf.ndim, strict=False):
    names = () if axes is None else (axes,) if isinstance(axes, str) else axes
    names = tuple(name for name in names if mesh.shape[name] > 1)
    while names and size % math.prod(mesh.shape[name] for name in names):
      names = names[:-1]
    fitted.append(names if len(names) > 1 else names[0] if names else None)
  return NamedSharding(mesh, PartitionSpec(*fitted))
