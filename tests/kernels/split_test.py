"""Cutting tiles over devices and over calls changes nothing but where they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import split


def mesh_of(**sizes):
  auto = (jax.sharding.AxisType.Auto,) * len(sizes)
  devices = jax.devices()[: np.prod(list(sizes.values()))]
  return jax.make_mesh(
    tuple(sizes.values()), tuple(sizes), devices=devices, axis_types=auto
  )


def double(seen):
  """A function of tiles that notes how many it gets at once."""

  def function(arrays):
    seen.append(arrays["x"].shape[0])
    return 2 * arrays["x"], arrays["y"].sum(axis=1)

  return function


@pytest.fixture
def arrays():
  x = jnp.arange(48.0).reshape(12, 4)
  return {"x": x, "y": x + 1}


def check(found, arrays):
  np.testing.assert_array_equal(found[0], 2 * arrays["x"])
  np.testing.assert_array_equal(found[1], arrays["y"].sum(axis=1))


@pytest.mark.parametrize(
  ("sizes", "local"),
  [({"a": 2, "b": 3}, 2), ({"a": 2, "b": 4}, 6), ({"a": 5}, 12), ({"a": 1}, 12)],
)
def test_each_device_gets_its_part_as_far_as_axes_divide(arrays, sizes, local):
  seen = []
  with jax.set_mesh(mesh_of(**sizes)):
    found = jax.jit(lambda x: split.over_mesh(double(seen), x))(arrays)
  assert set(seen) == {local}
  check(found, arrays)


def test_without_a_mesh_there_is_one_part(arrays):
  seen = []
  check(split.over_mesh(double(seen), arrays), arrays)
  assert seen == [12]


def test_an_axis_that_is_manual_already_is_left_alone(arrays):
  seen = []
  with jax.set_mesh(mesh_of(a=2, b=3)):
    found = jax.jit(
      jax.shard_map(
        lambda x: split.over_mesh(double(seen), x),
        in_specs=(jax.P("a"),),
        out_specs=jax.P("a"),
        axis_names={"a"},
        check_vma=False,
      )
    )(arrays)
  assert set(seen) == {2}
  check(found, arrays)


def test_tiles_that_lie_on_their_devices_do_not_travel(arrays):
  mesh = mesh_of(a=2, b=3)
  arrays = jax.device_put(arrays, jax.NamedSharding(mesh, jax.P(("a", "b"))))
  with jax.set_mesh(mesh):
    step = jax.jit(lambda x: split.over_mesh(double([]), x))
    text = step.lower(arrays).compile().as_text()
  assert "all-gather" not in text and "collective" not in text


@pytest.mark.parametrize(("most", "size"), [(12, 12), (100, 12), (5, 4), (1, 1)])
def test_parts_are_the_largest_allowed_that_divide(arrays, most, size):
  seen = []
  check(split.in_parts(double(seen), arrays, most), arrays)
  assert set(seen) == {size}
