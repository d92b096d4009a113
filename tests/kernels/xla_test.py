"""Blocks of rows and groups of tiles give what one block gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import reference, xla
from mdm.kernels.tiles import Saved, Tiles

T, R, M, D, E = 6, 10, 12, 4, 3


def make_tiles(dtype=jnp.float32):
  keys = jax.random.split(jax.random.key(0), 6)
  start = jax.random.randint(keys[4], (T, M), 0, 8)
  end = start + jax.random.randint(keys[5], (T, M), 0, 12)
  return Tiles(
    jax.random.normal(keys[0], (T, R, D), dtype),
    jax.random.normal(keys[1], (T, M, D), dtype),
    jax.random.normal(keys[2], (T, M, E), dtype),
    jax.random.normal(keys[3], (T, M)),
    start,
    end,
    jnp.tile(jnp.arange(R), (T, 1)),
  )


def all_of(backend, tiles):
  """(out, lse), and gradients where out counts for its value and lse for 1."""
  out, lse = backend.forward(tiles, 0.5)
  delta = (out.astype(jnp.float32) ** 2).sum(-1) - 1.0
  return out, lse, *backend.backward(tiles, 0.5, Saved(lse, out, delta))


@pytest.mark.parametrize(
  ("scores", "rows"),
  [(1, 1), (1, 3), (2 * R * M, 1), (4 * R * M, 1), (10**6, 1)],
  ids=["a row", "blocks with padding", "two tiles", "three tiles", "all"],
)
def test_results_do_not_depend_on_how_tiles_are_cut(scores, rows, monkeypatch):
  monkeypatch.setitem(xla.SCORES, "cpu", scores)
  monkeypatch.setattr(xla, "ROWS", rows)
  found = jax.jit(lambda tiles: all_of(xla, tiles))(make_tiles())
  expected = all_of(reference, make_tiles())
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_gradients_have_the_dtypes_of_what_they_belong_to():
  tiles = make_tiles(jnp.bfloat16)
  found = jax.eval_shape(lambda tiles: all_of(xla, tiles), tiles)
  assert [x.dtype for x in found] == [
    *("bfloat16", "float32"),
    *("bfloat16", "bfloat16", "bfloat16", "float32"),
  ]


@pytest.mark.parametrize(
  ("count", "most", "size"), [(128, 9, 8), (128, 500, 128), (13, 5, 5), (12, 0, 1)]
)
def test_parts_are_equal_where_that_costs_little(count, most, size):
  assert xla.even_parts(count, most) == size


def test_other_devices_get_larger_blocks(monkeypatch):
  here = xla.most_scores()
  monkeypatch.setattr(xla, "target_platform", lambda: "gpu")
  assert xla.most_scores() > here
