"""Tiles as kernels get them: their order, and that they change nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import layout
from mdm.kernels.interval_attention import attend_tiles, interval_attention
from mdm.kernels.intervals import Intervals, causal_intervals, window_intervals

B, N, H, G, D, W, C = 8, 32, 4, 2, 4, 5, 8
KEYS = jax.random.split(jax.random.key(0), 4)
QUERY = jax.random.normal(KEYS[0], (B, N, H, D))
KEY, VALUE = (jax.random.normal(k, (B, N, G, D)) for k in KEYS[1:3])
BIAS = jax.random.normal(KEYS[3], (B, G, N))
INTERVALS = window_intervals(N, W)
ARRAYS = (QUERY, KEY, VALUE, BIAS)


def lay(*arrays, is_deterministic=False):
  return layout.chunk_tiles(
    *arrays,
    INTERVALS,
    width=W,
    chunk=C,
    is_sorted=True,
    is_deterministic=is_deterministic,
  )


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_sorted_tiles_give_the_results_and_gradients_of_whole_ones(is_deterministic):
  @functools.partial(jax.jit, static_argnums=0)
  def measure(make, *arrays):
    """Gradients of the sum of squares."""

    def total(*arrays):
      """With results in their places."""
      out, _ = attend_tiles(make(*arrays), 0.5, "reference")
      out = layout.unfold(out, B, N, (H, G))
      return (out**2).sum(), out

    return jax.grad(total, (0, 1, 2, 3), has_aux=True)(*arrays)

  found = measure(functools.partial(lay, is_deterministic=is_deterministic), *ARRAYS)
  whole = measure(lambda *arrays: layout.whole_tiles(*arrays, INTERVALS, None), *ARRAYS)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_tiles_have_carried_keys_by_when_they_leave_and_then_their_own():
  tiles = jax.jit(lay)(*ARRAYS)
  assert tiles.key.shape == (B * G * N // C, W + C, D)
  assert (np.diff(tiles.end[:, :W], axis=1) <= 0).all()
  np.testing.assert_array_equal(tiles.start[:, W:], tiles.position[:, :: H // G])


def test_fewer_queries_than_keys_are_the_last_ones_unless_it_is_said_where():
  arrays = (QUERY[:, :3], *ARRAYS[1:])
  last = layout.whole_tiles(*arrays, INTERVALS, None).position
  np.testing.assert_array_equal(last[5], np.repeat([N - 3, N - 2, N - 1], H // G))
  told = layout.whole_tiles(*arrays, INTERVALS, jnp.array([4, 9, 30])).position
  np.testing.assert_array_equal(told[5], np.repeat([4, 9, 30], H // G))


def test_rows_of_a_group_lie_side_by_side_and_go_back():
  tiles = layout.whole_tiles(*ARRAYS, INTERVALS, None)
  np.testing.assert_array_equal(tiles.query[3, 2 * 7 + 1], QUERY[1, 7, 3])
  np.testing.assert_array_equal(layout.unfold(tiles.query, B, N, (H, G)), QUERY)


@pytest.mark.parametrize(
  "options", [{}, {"width": W, "chunk": C}], ids=["dense", "chunks"]
)
def test_a_batch_over_devices_needs_no_exchange(options):
  auto = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((8,), ("data",), axis_types=auto)
  ends = Intervals(causal_intervals(N).start, INTERVALS.end)

  def measure(*arrays):
    """Gradients of the sum of squares, and out."""

    def total(*arrays):
      """With chunks or without."""
      out, _ = interval_attention(*arrays[:3], ends, bias=arrays[3], **options)
      return (out**2).sum(), out

    return jax.grad(total, (0, 1, 2, 3), has_aux=True)(*arrays)

  expected = jax.jit(measure)(*ARRAYS)
  with jax.set_mesh(mesh):
    arrays = jax.device_put(ARRAYS, jax.NamedSharding(mesh, jax.P("data")))
    program = jax.jit(measure).lower(*arrays).compile()
    found = program(*arrays)
  assert not {"all-gather", "all-to-all", "collective-permute"} & set(
    program.as_text().replace("(", " ").split()
  )
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_numbers_of_a_pool_are_the_keys_that_tiles_have():
  pool = layout.chunk_pool(*ARRAYS, INTERVALS, width=W, chunk=C)
  p, m = pool.bias.shape
  assert (p, m) == (B * G, N)
  number = np.asarray(pool.number)  # p t k
  key = np.take_along_axis(
    np.asarray(pool.key)[:, None], np.minimum(number, m - 1)[..., None], axis=2
  )
  tiles = layout.chunk_tiles(
    *ARRAYS, INTERVALS, width=W, chunk=C, is_sorted=False, is_deterministic=False
  )
  tile_key = np.asarray(tiles.key).reshape(key.shape)
  np.testing.assert_array_equal(key[number < m], tile_key[number < m])
  assert (np.asarray(tiles.end).reshape(number.shape)[number == m] == 0).all()
  assert jnp.array_equal(pool.query.reshape(tiles.query.shape), tiles.query)
