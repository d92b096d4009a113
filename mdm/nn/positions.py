"""Fixed position tables, computed once on the host.

Source: *Attention Is All You Need*, Vaswani et al., 2017, section 3.5. The
two-dimensional table gives one half of the width to the row and the other to the
column, as in *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2021.
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


def grid_sinusoids(rows: int, columns: int, width: int) -> Float[np.ndarray, "n d"]:
  """Table of a grid read row by row: first half of the width row, second column.

  Raises:
    ValueError: if `width` is not a multiple of four.
  """
  if width % 4:
    raise ValueError(f"width = {width} must be a multiple of 4: two halves of pairs.")
  y = np.repeat(sinusoids(rows, width // 2), columns, axis=0)  # n d/2
  x = np.tile(sinusoids(columns, width // 2), (rows, 1))  # n d/2
  return np.concatenate([y, x], axis=-1)  # n d
