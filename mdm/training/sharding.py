"""Where arrays lie: a mesh of four axes, logical axis names, rules between them.

A model names its axes by meaning ("embed", "mlp", "heads", "vocab"); a preset's rules
map these names to mesh axes. A dimension that its mesh axes do not divide stays whole.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mdm.methods.base import TEACHER
from mdm.nn.placing import BATCH_AXES, TOKEN_AXIS
from mdm.training.settings import Sharding
from mdm.training.state import State, restrict

PyTree = Any
AXES = (*BATCH_AXES, TOKEN_AXIS, "tensor")  # those that talk most are neighbours
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
  """The mesh that a config asks for, over all devices.

  Neighbours on an axis are neighbours on the devices' torus, whose axes are split where
  they must be.

  Raises:
    ValueError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  shape = _mesh_shape(cfg, len(devices))
  placed = mesh_utils.create_device_mesh(
    shape, devices, allow_split_physical_axes=devices[0].platform == "tpu"
  )
  return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _mesh_shape(cfg: Sharding, count: int) -> tuple[int, ...]:
  sizes = {axis: getattr(cfg, axis) for axis in AXES}
  rest = "data" if cfg.preset == "dp" else "fsdp"
  for axis, preset in (("tensor", "fsdp+tp"), (TOKEN_AXIS, "sequence")):
    if sizes[axis] == 0:
      sizes[axis] = 2 if cfg.preset == preset and count % 2 == 0 else 1
  if -1 not in sizes.values() and sizes[rest] == 0:
    sizes[rest] = -1
  shape = {axis: size or 1 for axis, size in sizes.items()}
  known = math.prod(s for s in shape.values() if s > 0)
  filled = tuple(count // known if s == -1 else s for s in shape.values())
  if list(shape.values()).count(-1) > 1 or math.prod(filled) != count:
    asked = " x ".join(f"{axis}={size}" for axis, size in sizes.items())
    raise ValueError(
      f"sharding {asked} does not multiply to {count} devices; leave one axis at -1."
    )
  return filled


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def put_everywhere(sharding: NamedSharding, value: np.generic) -> jax.Array:
  """A number on all devices, those of other processes too."""
  return jax.make_array_from_callback((), sharding, lambda _: np.asarray(value))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The sharding of a batch: cut along its first axis over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch_divides(mesh: Mesh, batch: int, accumulate: int) -> None:
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
  mesh: Mesh,
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
  """
  logical = nn.get_partition_spec(boxed_params)
  wanted = nn.logical_to_mesh_sharding(logical, mesh, RULES[preset])
  params = jax.tree.map(_fit, state.params, wanted)
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
