"""At which times a sampler looks: from 1 (all hidden) down to 0 in a number of passes.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024, appendix
on sampling (cosine); *Discrete Flow Matching*, Gat et al., 2024, appendix D (corrector
schedule), as in github kuleshov-group/remdm.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

GRIDS = ("uniform", "cosine")


def grid_times(
  place: Int[Array, "b"], places: Int[Array, "b"], grid: str
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
  """The times t > s between which pass `place` of `places` goes.

  uniform: t = 1 - place / places. cosine: t = cos(pi/2 (1 - t')) of that t', which
  takes large steps first and small ones at the end.
  """
  t = (places - place).astype(jnp.float32) / places
  s = (places - place - 1).astype(jnp.float32) / places
  if grid == "cosine":  # sin(pi/2 t') is 0 at 0, where the cosine would be 4e-8
    return jnp.sin(0.5 * math.pi * t), jnp.sin(0.5 * math.pi * s)
  return t, s


def corrector_strength(rate: np.ndarray | Array) -> Array:
  """B of the discrete-flow corrector at a hidden share m: 10 m^.25 (1 - m)^.25."""
  return 10.0 * (jnp.abs(rate) * jnp.abs(1.0 - rate)) ** 0.25


def corrector_rates(num_steps: int) -> Float32[np.ndarray, "s"]:
  """Hidden shares m from 1 down to 0 at which the discrete-flow corrector looks.

  A step is at most 1 / num_steps long, and short enough for probabilities to stay
  within 1: (1 + b) / m + b / (1 - m) of it is at most 1. Hence more passes than
  `num_steps`. The last one goes from 1 / num_steps or less to 0.
  """
  longest = 1.0 / num_steps
  rates = [1.0]
  while rates[-1] > longest * (1 + 1e-6):
    m = rates[-1]
    b = 10.0 * (m * (1.0 - m)) ** 0.25
    step = longest if m == 1 else min(longest, 1 / ((1 + b) / m + b / (1 - m)))
    rates.append(m - step)
  return np.asarray([*rates, 0.0], np.float32)
