"""Problems of attention: sizes, arrays, and scores drawn by a pattern or learned.

Patterns of the scores, by which keys are chosen: "iid"; "clustered", blocks of 64
neighbours share one; "recency", the latest are best, a sliding window; "learned", what
the heads of a trained network give to the sequences of its test data, put one after
the other. Times of all are the same where no backend's work depends on the choice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdm.evaluation.attention.floor import Case
from mdm.masks.choices import check_choice

PATTERNS = ("iid", "clustered", "recency", "learned")
DTYPES = ("float32", "bfloat16", "float16")
CLUSTER = 64  # neighbours that share a score
MOST_POSITIONS = 2**31 - 2**16


class Problem(NamedTuple):
  """What every entrant of a case gets; of a step one query, the last."""

  query: Float[Array, "b q h d"]
  key: Float[Array, "b n g d"]
  value: Float[Array, "b n g d"]
  score: Float[Array, "b g n"]
  d_out: Float[Array, "b q h d"]


def parse_case(text: str, pattern: str = "iid", *, is_step: bool = False) -> Case:
  """A case from "B,H,K,N,D,W": batch, heads, key heads, length, head width, kept keys.

  Raises:
    ValueError: not six positive numbers, heads that do not divide, N beyond int32.
  """
  check_choice("pattern", pattern, PATTERNS)
  parts = text.split(",")
  if len(parts) != 6 or not all(part.strip().isdecimal() for part in parts):
    raise ValueError(
      f"shape {text!r} must be six numbers B,H,K,N,D,W (batch, heads, key heads, "
      "length, head width, kept keys), as in 1,2,1,8192,64,256."
    )
  b, h, g, n, d, w = (int(part) for part in parts)
  case = Case(b, h, g, n, d, w, pattern, is_step)
  for name, size in zip("BHKNDW", (b, h, g, n, d, w), strict=True):
    if size < 1:
      raise ValueError(f"{name} = 0 in shape {text!r} must be 1 or more.")
  if case.heads % case.kv_heads:
    raise ValueError(
      f"{case.kv_heads} key heads do not divide {case.heads} heads in shape {text!r}; "
      "give a divisor."
    )
  if case.length > MOST_POSITIONS:
    raise ValueError(
      f"N = {case.length} in shape {text!r} does not fit int32; give at most "
      f"{MOST_POSITIONS}."
    )
  return case


def draw_problem(
  case: Case, dtype: str, learned: Float[np.ndarray, "g m"] | None = None
) -> Problem:
  """Normal arrays, and positive scores by the case's pattern, float32.

  Args:
    learned: of `learned.py`, which the pattern of that name needs.
  """
  b, h, g, n, d = case[:5]
  q = 1 if case.is_step else n
  keys = jax.random.split(jax.random.key(0), 5)
  shapes = ((b, q, h, d), (b, n, g, d), (b, n, g, d), (b, q, h, d))
  query, key, value, d_out = (
    jax.random.normal(k, shape, dtype) for k, shape in zip(keys, shapes, strict=False)
  )
  if case.pattern == "recency":
    score = jnp.broadcast_to(jnp.linspace(0.0, 2.0, n), (b, g, n))
  elif case.pattern == "clustered":
    each = jax.random.uniform(keys[4], (b, g, -(-n // CLUSTER)), maxval=2.0)
    score = jnp.repeat(each, CLUSTER, axis=-1)[..., :n]
  elif case.pattern == "learned":
    assert learned is not None
    score = _spread(case, learned)
  else:
    score = jax.random.uniform(keys[4], (b, g, n), maxval=2.0)
  return Problem(query, key, value, jax.block_until_ready(score), d_out)


def _spread(case: Case, learned: Float[np.ndarray, "g m"]) -> Float[Array, "b g n"]:
  """Learned heads over a case's: each gets one, and each row starts elsewhere in it."""
  b, g, n = case.batch, case.kv_heads, case.length
  rows = []
  for number in range(b * g):
    head = learned[number % len(learned)]
    first = (number // len(learned)) * n % head.size
    rows.append(np.resize(np.roll(head, -first), n))
  return jnp.asarray(np.stack(rows).reshape(b, g, n))
