"""Fixed position tables, computed once on the host.

Source: *Attention Is All You Need*, Vaswani et al., 2017, section 3.5; for grids *An
Empirical Study of Training Self-Supervised Vision Transformers*, Chen et al., 2021,
section 5, in the layout of the authors' and of MAE's code.
"""

import numpy as np
from jaxtyping import Float


def sinusoids(length: int, width: int) -> Float[np.ndarray, "n d"]:
  """Sines in even columns, cosines in odd ones: sin(p / 10000^(2i/d)), cos(same).

  Raises:
    ValueError: if `width` is odd.
  """
  if width % 2:
    raise ValueError(f"width = {width} is odd; sines and cosines come in pairs.")
  rates = 10_000.0 ** (-np.arange(0, width, 2) / width)  # d/2
  angles = np.arange(length)[:, None] * rates  # n d/2
  table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # n d/2 2
  return table.reshape(length, width).astype(np.float32)  # n d


def grid_sincos(rows: int, columns: int, width: int) -> Float[np.ndarray, "n d"]:
  """Places of a grid in raster order: half the width for the column, half for the row.

  Each half is [sin(p w), cos(p w)] with w_k = 10000^(-k / (width / 4)).

  Raises:
    ValueError: unless 4 divides the width.
  """
  if width % 4:
    raise ValueError(
      f"width = {width} is no multiple of 4; sines and cosines of two axes need that."
    )
  rates = 10_000.0 ** (-np.arange(width // 4) / (width // 4))  # d/4
  row, column = np.divmod(np.arange(rows * columns), columns)
  parts = [axis[:, None] * rates for axis in (column, row)]
  table = np.concatenate([f(x) for x in parts for f in (np.sin, np.cos)], axis=1)
  return table.astype(np.float32)  # n d
