"""What a method is: a Flax Linen module that maps a batch to its losses.

The training loop knows a paper only through the names in this file. A method's fields
are its settings and the schema of `config.method`; its submodules are its networks,
built from `config.model`; calling it gives every loss and metric as a `Mean`, a total
and a weight, so that means stay exact over micro-batches, devices and padding.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

EXAMPLE_STREAMS = ("mask", "time", "noise", "augment")
BATCH_STREAMS = ("dropout", "gumbel")


@struct.dataclass
class Mean:
  """A mean in two parts, so that it can be added before it is divided."""

  total: Float[Array, ""]
  weight: Float[Array, ""]

  def __add__(self, other: "Mean") -> "Mean":
    return Mean(self.total + other.total, self.weight + other.weight)

  def value(self) -> Float[Array, ""]:
    """The mean itself; 0 where nothing was counted."""
    return self.total / jnp.where(self.weight > 0, self.weight, 1.0)


def mean_of(
  values: Float[Array, "*dims"], weight: Float[Array, "*dims"] | None = None
) -> Mean:
  """Weighted sum of `values` beside the sum of the weights (all ones if None)."""
  values = values.astype(jnp.float32)
  if weight is None:
    return Mean(values.sum(), jnp.asarray(values.size, jnp.float32))
  return Mean((values * weight).sum(), weight.astype(jnp.float32).sum())


class Method(nn.Module):
  """A published method: settings as fields, networks as submodules, losses when called.

  Streams: what is drawn per example (`EXAMPLE_STREAMS`) depends on seed, step and the
  example's index alone; what is drawn per micro-batch (`BATCH_STREAMS`) also on the
  micro-batch. A method asks for a key with `self.make_rng("mask")`.
  """

  def __call__(self, batch: Mapping[str, jax.Array], *, train: bool) -> dict[str, Mean]:
    """Every loss and metric of one batch; the entry `loss` is the one optimised.

    In training the batch also tells where the training stands: the scalars `step`,
    `epoch`, `progress` and `examples` of `training/place.py`.
    """
    raise NotImplementedError

  def trainable(self, path: str) -> bool:
    """Whether the parameter at `path` ("encoder/stem/kernel") is optimised."""
    del path
    return True
