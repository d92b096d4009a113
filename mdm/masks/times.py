"""The times (or counts) at which a step's examples are corrupted, spread evenly.

The interval [0, 1] is cut into as many strata as the whole step has examples, over all
devices and micro-batches, and each example gets one stratum of its own:

  systematic   t_i = ((i + k) mod B + u) / B        one u for all
  stratified   t_i = ((i + k) mod B + u_i) / B      a u_i for each
  independent  t_i = u_i

i is an example's place in the step, k one integer for all, so that no place is tied to
a time: each t_i alone is uniform. All draws come from the step's key and the place.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024
(systematic; its code says antithetic), *Simple and Effective Masked Diffusion Language
Models*, 2024 (stratified), *Large Language Diffusion Models*, 2025 (counts).
Differences:
  - strata are those of the whole step, not of each device or micro-batch.
  - i / B comes from integers; a range of float steps has B + 1 entries for some B.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import example_keys

TIME_SAMPLING = ("systematic", "stratified", "independent")
Count = Int[Array, ""] | int
# Draws keep this far from the edges of their stratum, so that rounding never moves a
# time into the next one.
EDGE = 2.0**-22


def batch_places(
  batch: Mapping[str, jax.Array | np.ndarray],
) -> tuple[Int[Array, "b"], Count]:
  """Each row's place in its training step (0 to total - 1), and the step's total.

  The step tells the total as `examples`; a batch without it is a whole step.
  """
  index = jnp.asarray(batch["index"])
  total = batch.get("examples", index.shape[0])
  total = total if isinstance(total, int) else jnp.asarray(total)
  return index % total, total


def sample_times(
  key: Key[Array, ""],
  place: Int[Array, "b"],
  total: Count,
  kind: str = "systematic",
  *,
  low: float | int = 0.0,
  high: float | int = 1.0,
) -> Float[Array, "b"]:
  """One time for each example, uniform over (low, high), spread as `kind` says.

  Args:
    key: of the step, the same for all its rows.
    place: number of the row within the whole step, 0 to total - 1.
    total: rows of the whole step, over devices and micro-batches.
    kind: one of `TIME_SAMPLING`.
    low: times are rescaled to start here; MDLM draws them from [1e-3, 1].
    high: and to end here.

  Raises:
    ValueError: an unknown kind, or no 0 <= low < high <= 1.
  """
  check_choice("time_sampling", kind, TIME_SAMPLING)
  if not 0 <= low < high <= 1:
    raise ValueError(
      f"times from low = {low} to high = {high} must satisfy 0 <= low < high <= 1."
    )
  turn_key, one_key, row_key = jax.random.split(key, 3)
  total = jnp.asarray(total, jnp.int32)
  if kind == "systematic":
    u = jax.random.uniform(one_key)
  else:
    u = jax.vmap(jax.random.uniform)(example_keys(row_key, place))  # b
  if kind == "independent":
    return low + (high - low) * _inside(u, EDGE)
  turn = jax.random.randint(turn_key, (), 0, total)
  strata = (place + turn) % total  # b
  edge = jnp.minimum(total * EDGE, 0.5)
  t = (strata.astype(jnp.float32) + _inside(u, edge)) / total.astype(jnp.float32)
  return low + (high - low) * t


def sample_counts(
  key: Key[Array, ""],
  place: Int[Array, "b"],
  total: Count,
  length: Int[Array, "b"] | Count,
  kind: str = "systematic",
) -> Int[Array, "b"]:
  """How many of `length` positions to hide in each row: uniform over 1..length.

  One more than the whole part of t * length, t from `sample_times`; a row of length 0
  gets 1.

  Source: Large Language Diffusion Models, 2025, appendix on likelihood evaluation.
  """
  t = sample_times(key, place, total, kind)
  count = 1 + jnp.floor(t * length).astype(jnp.int32)
  return jnp.clip(count, 1, jnp.maximum(jnp.asarray(length, jnp.int32), 1))


def _inside(
  u: Float[Array, "*dims"], edge: float | Float[Array, ""]
) -> Float[Array, "*dims"]:
  """Numbers of [0, 1) moved into [edge, 1 - edge)."""
  return edge + (1.0 - 2.0 * edge) * u
