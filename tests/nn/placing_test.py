import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mdm.nn.layers import Linear, conv
from mdm.nn.placing import gather_tokens, keep_batch, keep_tokens, token_shards

X = np.arange(8 * 3 * 4, dtype=np.float32).reshape(8, 3, 4)


@pytest.fixture(scope="module")
def mesh():
  """Two by four devices, which cut the batch and the parameters."""
  return jax.make_mesh(
    (2, 4, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3
  )


@pytest.fixture(scope="module")
def long_mesh():
  """Two by four devices, which cut the batch and its tokens."""
  return jax.make_mesh((2, 4), ("data", "sequence"), axis_types=(AxisType.Auto,) * 2)


def lies_along_batch(x, mesh):
  """Whether each device has an eighth of the rows, whole."""
  spec = PartitionSpec(("data", "fsdp"), *[None] * (x.ndim - 1))
  return x.sharding.is_equivalent_to(NamedSharding(mesh, spec), x.ndim)


def test_the_first_axis_is_cut_like_the_batch_and_so_is_the_gradient(mesh):
  whole = jax.device_put(X, NamedSharding(mesh, PartitionSpec()))
  with jax.set_mesh(mesh):
    kept = jax.jit(keep_batch)(whole)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(keep_batch(x) ** 2)))(whole)
  assert lies_along_batch(kept, mesh) and lies_along_batch(slope, mesh)
  np.testing.assert_array_equal(kept, X)
  np.testing.assert_array_equal(slope, 2 * X)


@pytest.mark.parametrize("shape", [(8, 4), (8,), (6, 3, 4), (1, 8, 4)])
def test_what_has_no_batch_or_does_not_divide_is_left_alone(mesh, shape):
  x = jnp.zeros(shape)
  with jax.set_mesh(mesh):
    assert "sharding_constraint" not in str(jax.make_jaxpr(keep_batch)(x))


def test_without_several_devices_nothing_is_said():
  assert "sharding_constraint" not in str(jax.make_jaxpr(keep_batch)(X))
  single = jax.make_mesh(
    (1, 1, 1), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3,
    devices=jax.devices()[:1],
  )  # fmt: skip
  with jax.set_mesh(single):
    assert "sharding_constraint" not in str(jax.make_jaxpr(keep_batch)(X))


def test_by_hand_and_in_vmap_it_may_stand_too(mesh):
  spec = PartitionSpec(("data", "fsdp"))
  with jax.set_mesh(mesh):
    by_hand = jax.jit(jax.shard_map(keep_batch, in_specs=spec, out_specs=spec))(X)
    mapped = jax.jit(jax.vmap(keep_batch, in_axes=1, out_axes=1))(X[..., None])
  np.testing.assert_array_equal(by_hand, X)
  np.testing.assert_array_equal(mapped, X[..., None])


@pytest.mark.parametrize(
  ("function", "second"), [(keep_tokens, "sequence"), (gather_tokens, None)]
)
def test_tokens_are_cut_or_gathered_and_so_is_their_gradient(
  long_mesh, function, second
):
  wanted = NamedSharding(long_mesh, PartitionSpec("data", second, None))
  x = np.arange(4 * 8 * 3, dtype=np.float32).reshape(4, 8, 3)
  with jax.set_mesh(long_mesh):
    kept = jax.jit(function)(x)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(function(x) ** 2)))(x)
  for found, values in ((kept, x), (slope, 2 * x)):
    assert found.sharding.is_equivalent_to(wanted, 3)
    np.testing.assert_array_equal(found, values)


def test_tokens_that_the_devices_do_not_divide_are_left_alone(mesh, long_mesh):
  assert token_shards(8) == 1  # no mesh
  with jax.set_mesh(mesh):
    assert token_shards(8) == 1  # no such axis
  with jax.set_mesh(long_mesh):
    assert [token_shards(n) for n in (8, 6, 1)] == [4, 1, 1]
    for function in (keep_tokens, gather_tokens):
      traced = str(jax.make_jaxpr(function)(jnp.zeros((3, 6, 4))))
      assert "sharding_constraint" not in traced
    count = jax.shard_map(
      lambda x: x + token_shards(8), in_specs=jax.P(), out_specs=jax.P()
    )(jnp.zeros(()))
  assert count == 1  # by hand


def test_a_linear_map_gathers_its_kernel_and_not_the_batch(mesh):
  width = 256
  linear = Linear((width,), ("embed", "mlp"), use_bias=False)
  kernel = jax.ShapeDtypeStruct(
    (width, width), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("fsdp"))
  )
  batch = jax.ShapeDtypeStruct(
    (8, 16, width),
    jnp.float32,
    sharding=NamedSharding(mesh, PartitionSpec(("data", "fsdp"))),
  )

  def both(kernel, x):
    """A loss of two maps, and its gradient."""

    def loss(kernel):
      y = linear.apply({"params": {"kernel": kernel}}, x)
      return jnp.square(linear.apply({"params": {"kernel": kernel}}, jnp.tanh(y))).sum()

    return jax.value_and_grad(loss)(kernel)

  with jax.set_mesh(mesh):
    text = jax.jit(both).lower(kernel, batch).compile().as_text()
  gathered = [line for line in text.splitlines() if " all-gather(" in line]
  assert gathered and all(f"f32[{width},{width}]" in line for line in gathered)
  assert "all-to-all" not in text


def test_a_convolution_in_groups_gathers_no_rows(mesh):
  """Neither forward nor back, and computes what one device does."""
  net = conv(8, groups=4)
  x = np.random.default_rng(0).normal(size=(8, 5, 6, 8)).astype(np.float32)
  variables = net.init(jax.random.key(0), x)

  def cost(variables, x):
    return jnp.sum(net.apply(variables, x) ** 2)

  slopes = jax.jit(jax.grad(cost, (0, 1)))
  wanted = slopes(variables, x)
  with jax.set_mesh(mesh):
    rows = jax.device_put(x, NamedSharding(mesh, PartitionSpec(("data", "fsdp"))))
    whole = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
    compiled = slopes.lower(whole, rows).compile()
    found = compiled(whole, rows)
  assert "all-gather" not in compiled.as_text()
  assert lies_along_batch(found[1], mesh)
  chex.assert_trees_all_close(found, wanted, rtol=1e-5, atol=1e-5)
  with jax.set_mesh(mesh):  # rows that do not divide are computed too
    np.testing.assert_allclose(net.apply(variables, x[:3]), net.apply(variables, x)[:3],
                               rtol=1e-5, atol=1e-5)  # fmt: skip
