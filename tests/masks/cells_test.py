"""Masks of square cells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.cells import mask_cells
from mdm.masks.keys import example_keys
from mdm.masks.scores import split_by_mask

draw = jax.jit(mask_cells, static_argnums=(1, 2, 3), static_argnames=("cell",))


def row_keys(rows=16):
  return example_keys(jax.random.key(0), jnp.arange(rows))


def test_simmim_hides_thirty_cells_that_are_120_of_196_patches():
  mask = draw(row_keys(), 14, 14, 0.6, cell=2)
  assert mask.sum(axis=1).tolist() == [120] * 16
  assert split_by_mask(mask, 76).keep.shape == (16, 76)


def test_cells_are_counted_by_simmims_rule():
  mask = draw(row_keys(), 10, 10, 0.9, cell=1)
  assert mask.sum(axis=1).tolist() == [90] * 16  # 91 by MAE's


def test_swin_patches_of_four_pixels_are_hidden_eight_by_eight():
  mask = np.asarray(draw(row_keys(), 48, 48, 0.6, cell=8))  # 192 pixels
  assert mask.sum(axis=1).tolist() == [22 * 64] * 16


def test_a_cell_is_hidden_as_a_whole():
  mask = np.asarray(draw(row_keys(), 6, 9, 0.5, cell=3)).reshape(16, 2, 3, 3, 3)
  assert (mask == mask[:, :, :1, :, :1]).all()
  assert (mask[:, :, 0, :, 0].sum(axis=(1, 2)) == 3).all()


def test_cells_of_one_patch_hide_patches_by_themselves():
  mask = np.asarray(draw(row_keys(), 4, 4, 0.5, cell=1))
  assert mask.sum(axis=1).tolist() == [8] * 16
  assert len(np.unique(mask, axis=0)) == 16


def test_every_place_is_hidden_equally_often():
  rows = 10_000
  hits = np.asarray(draw(row_keys(rows), 8, 8, 0.6, cell=2).sum(axis=0))
  cells = hits.reshape(4, 2, 4, 2)[:, 0, :, 0]
  share = 10 / 16  # ceil(0.6 * 16) cells
  # Chi-square with 15 degrees of freedom exceeds 37.7 with probability 1e-3.
  variance = rows * share * (1 - share)
  assert ((cells - rows * share) ** 2 / variance).sum() * 15 / 16 < 37.7


@pytest.mark.parametrize("cell", [0, 4, 28])
def test_cells_that_do_not_fill_the_grid_are_refused(cell):
  with pytest.raises(ValueError, match=f"{cell} x {cell} patches do not fill a grid"):
    mask_cells(row_keys(), 14, 14, 0.6, cell=cell)


def test_a_ratio_that_hides_every_cell_is_refused():
  with pytest.raises(ValueError, match=r"0\.8 of 4 patches leaves none visible"):
    mask_cells(row_keys(), 4, 4, 0.8, cell=2)


def test_a_mask_is_the_same_on_eight_devices_and_in_any_batch():
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))

  @functools.partial(jax.jit, in_shardings=rows, out_shardings=rows)
  def sharded(index):
    return mask_cells(example_keys(jax.random.key(0), index), 14, 14, 0.6, cell=2)

  order = jnp.array([7, 2, 15, 0, 1, 3, 4, 5])
  drawn = sharded(jax.device_put(order, rows))
  expected = np.asarray(draw(row_keys(), 14, 14, 0.6, cell=2))
  assert (np.asarray(drawn) == expected[np.asarray(order)]).all()
