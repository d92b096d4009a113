"""FLOPs of the products that a function does, counted from what JAX traces of it.

Matrix products and convolutions alone, a multiply and an add each: what the field means
by a model's FLOPs. A loop's body counts as often as the loop turns, unlike in the
compiler's own count, and what is recomputed counts again.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax


def count_flops(
  function: Callable[..., Any], *args: Any, turns: int | None = None
) -> float:
  """FLOPs of one call, which is traced and not run.

  Of branches the dearest counts.

  Args:
    args: arrays, or their shapes as `jax.ShapeDtypeStruct`.
    turns: of loops that end by what they find, and of kernels' grids that do; None for
      an error where there are any.

  Raises:
    ValueError: a loop or a grid whose turns are not known beforehand does products.
  """
  return _count(jax.make_jaxpr(function)(*args).jaxpr, turns)


def _count(jaxpr: Any, turns: int | None) -> float:
  """FLOPs of a traced function's equations."""
  total = 0.0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    inner = [_count(part, turns) for part in _parts(params)]
    if name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      depth = math.prod(shape[axis] for axis in contracted)
      total += 2.0 * equation.outvars[0].aval.size * depth
    elif name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
      total += 2.0 * equation.outvars[0].aval.size * (kernel.size // features)
    elif name == "scan":
      total += params["length"] * sum(inner)
    elif name == "while" and any(inner) and turns is not None:
      total += turns * sum(inner)
    elif name == "while" and any(inner):
      raise ValueError(
        "FLOPs of a while loop cannot be counted before it runs; use a scan."
      )
    elif name == "cond":
      total += max(inner)
    elif name == "pallas_call":
      total += _count_programs(params["grid_mapping"].grid, turns) * sum(inner)
    else:
      total += sum(inner)
  return total


def _count_programs(grid: Sequence[Any], turns: int | None) -> int:
  """How often a kernel runs; sides of its grid that the data decide are `turns`.

  Raises:
    ValueError: there are such sides, and `turns` is None.
  """
  sides = [side if isinstance(side, int) else turns for side in grid]
  known = [side for side in sides if side is not None]
  if len(known) < len(sides):
    raise ValueError(
      "FLOPs of a kernel whose grid the data decide cannot be counted before it runs."
    )
  return math.prod(known)


def _parts(params: dict[str, Any]) -> Iterator[Any]:
  """Functions traced within an equation."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      found = getattr(item, "jaxpr", item)
      if hasattr(found, "eqns"):
        yield found
