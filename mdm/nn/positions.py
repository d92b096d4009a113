"""Fixed position tables, computed once on the host.

Source: *Attention Is All You Need*, Vaswani et al., 2017, section 3.5.
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
