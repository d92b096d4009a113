import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from mdm.evaluation.flops import count_flops

X = jax.ShapeDtypeStruct((8, 16), jnp.float32)
W = jax.ShapeDtypeStruct((16, 16), jnp.float32)
ONCE = 2 * 8 * 16 * 16


def layer(x, w):
  return jnp.tanh(x @ w)


def test_a_gradient_does_twice_the_products_of_its_function():
  def loss(w, x):
    return layer(layer(x, w), w).sum()

  assert count_flops(loss, W, X) == 2 * ONCE
  assert count_flops(jax.grad(loss), W, X) == (2 + 3) * ONCE  # x has no gradient


def has_own_gradient(function):
  """The same function, whose gradient is written by hand."""
  own = jax.custom_vjp(function)
  own.defvjp(lambda *args: (function(*args), args), lambda args, _: args)
  return own


def has_own_tangent(function):
  """The same function, whose tangent is written by hand."""
  own = jax.custom_jvp(function)
  own.defjvp(lambda args, tangents: (function(*args), tangents[0]))
  return own


@pytest.mark.parametrize(
  "wrap", [jax.jit, jax.remat, has_own_gradient, has_own_tangent]
)
def test_functions_within_are_counted_once(wrap):
  assert count_flops(wrap(layer), X, W) == ONCE


def test_a_loop_counts_as_often_as_it_turns():
  def loop(x, w):
    return jax.lax.scan(lambda x, _: (layer(x, w), None), x, length=7)[0]

  assert count_flops(loop, X, W) == 7 * ONCE


def test_the_dearest_branch_counts():
  def either(x, w):
    return jax.lax.cond(x[0, 0] > 0, lambda: layer(x, w), lambda: x)

  assert count_flops(either, X, W) == ONCE


def test_a_loop_of_unknown_length_is_refused_if_it_does_products():
  def grow(x, w):
    return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: layer(x, w), x)

  with pytest.raises(ValueError, match="use a scan"):
    count_flops(grow, X, W)
  free = lambda x: jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x - 1, x)  # noqa: E731
  assert count_flops(free, X) == 0


def test_batched_products_and_convolutions():
  q = jax.ShapeDtypeStruct((2, 5, 3, 4), jnp.float32)
  assert count_flops(lambda q: jnp.einsum("bqhk,bmhk->bhqm", q, q), q) == (
    2 * (2 * 3 * 5 * 5) * 4
  )
  image = jax.ShapeDtypeStruct((2, 8, 8, 6), jnp.float32)
  kernel = jax.ShapeDtypeStruct((3, 3, 2, 9), jnp.float32)  # three groups of channels

  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image,
      kernel,
      (2, 2),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=3,
    )

  assert count_flops(convolve, image, kernel) == 2 * (2 * 4 * 4 * 9) * (3 * 3 * 2)


def test_a_kernel_counts_in_each_cell_of_its_grid():

  def kernel(x, w, out):
    out[...] = x[...] @ w[...]

  def multiply(x, w):
    return pl.pallas_call(
      kernel,
      out_shape=jax.ShapeDtypeStruct((8, 16), jnp.float32),
      grid=(4,),
      in_specs=[
        pl.BlockSpec((2, 16), lambda i: (i, 0)),
        pl.BlockSpec((16, 16), lambda i: (0, 0)),
      ],
      out_specs=pl.BlockSpec((2, 16), lambda i: (i, 0)),
      interpret=True,
    )(x, w)

  assert count_flops(multiply, X, W) == ONCE


def test_grids_that_the_data_decide_are_refused_or_counted_as_told():
  from jax.experimental import pallas as pl

  def kernel(x, y):
    y[...] = x[...] @ x[...]

  def run(count, x):
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return pl.pallas_call(kernel, grid=(3, count), out_shape=shape)(x)

  args = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((8, 8), jnp.float32)
  with pytest.raises(ValueError, match="whose grid the data decide"):
    count_flops(run, *args)
  assert count_flops(run, *args, turns=5) == 3 * 5 * 2 * 8**3
