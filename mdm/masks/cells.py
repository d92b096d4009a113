"""Masks of square cells: patches are hidden together, a cell at a time.

Source: *SimMIM: A Simple Framework for Masked Image Modeling*, Xie et al., 2021,
section 3.2: cells of 32 pixels, 60% of them hidden.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from mdm.masks.scores import count_kept, hide_highest, random_scores


def mask_cells(
  keys: Key[Array, "b"],
  rows: int,
  columns: int,
  ratio: float,
  *,
  cell: int,
  rounding: str = "simmim",
) -> Bool[Array, "b {rows}*{columns}"]:
  """Hides a share of the cells of each patch grid: the same number in every row.

  Args:
    keys: one key per example.
    rows, columns: the patch grid.
    ratio: share of cells to hide.
    cell: side of a cell in patches: its pixels / the pixels of a patch.
    rounding: as `count_kept`.

  Raises:
    ValueError: if cells do not fill the grid, or as `count_kept`.
  """
  if cell < 1 or rows % cell or columns % cell:
    raise ValueError(
      f"cells of {cell} x {cell} patches do not fill a grid of {rows} x {columns}; "
      f"choose a side that divides both."
    )
  down, across = rows // cell, columns // cell
  kept = count_kept(down * across, ratio, rounding=rounding)
  mask = hide_highest(random_scores(keys, down * across), kept)
  grid = mask.reshape(-1, down, 1, across, 1)
  whole = jnp.broadcast_to(grid, (grid.shape[0], down, cell, across, cell))
  return whole.reshape(-1, rows * columns)
