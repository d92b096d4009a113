"""The small parts every network is made of: linear maps, norms, MLPs, dropped paths.

Parameters are float32 and carry logical axis names ("embed", "mlp", "heads", "kv",
"vocab") that a config maps to mesh axes; products run in the module's `dtype`, norms
in float32. Stochastic depth follows *Deep Networks with Stochastic Depth, Huang et
al., 2016*, with a rate that grows linearly with depth.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from mdm.kernels.dispatch import target_platform
from mdm.nn.gelu import gelu
from mdm.nn.placing import by_rows, keep_tokens

Initializer = Callable[..., jax.Array]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "gelu": gelu,
  "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
  "relu": jax.nn.relu,
  "sigmoid": jax.nn.sigmoid,
  "silu": jax.nn.silu,
  "tanh": jnp.tanh,
}
GATES = {"swiglu": "silu", "geglu": "gelu_tanh", "sigmoid-gated": "sigmoid"}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """The elementwise function called `name`; "gelu" is the exact one.

  Raises:
    ValueError: if there is none of that name.
  """
  if name not in ACTIVATIONS:
    raise ValueError(
      f"activation = {name!r} is not known; choose one of {', '.join(ACTIVATIONS)}."
    )
  return ACTIVATIONS[name]


def named(init: Initializer, *axes: str | None) -> Initializer:
  """The initialiser `init`, whose result carries one logical name per axis."""
  return cast(Initializer, nn.with_logical_partitioning(init, axes))


class Linear(nn.Module):
  """Contracts the last `contract` axes of the input with a kernel; adds a bias.

  Fans are those of the flattened matrix, so one fused query-key-value map starts
  like the single matrix it is.

  Attributes:
    features: shape of the output axes.
    axes: logical names, one for each axis of the kernel (contracted, then features).
    contract: how many trailing input axes are summed over.
  """

  features: Sequence[int]
  axes: Sequence[str | None]
  contract: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "*dims"], part: slice | None = None
  ) -> Float[Array, "*out"]:
    """Maps [... inputs] to [... features], or to a part of the first feature axis."""
    features = tuple(self.features)
    inputs = x.shape[-self.contract :]

    def init(key: Key[Array, ""], shape: tuple[int, ...]) -> jax.Array:
      """A kernel that starts like the flattened matrix."""
      matrix = (math.prod(inputs), math.prod(features))
      return self.kernel_init(key, matrix, jnp.float32).reshape(shape)

    kernel = self.param("kernel", named(init, *self.axes), inputs + features)
    if part is not None:
      kernel = kernel[(slice(None),) * self.contract + (part,)]
    x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
    y = keep_tokens(contract_axes(keep_tokens(x), kernel, self.contract))
    if not self.use_bias:
      return y
    zeros = named(nn.initializers.zeros, *self.axes[self.contract :])
    bias = self.param("bias", zeros, features)
    return y + (bias if part is None else bias[part]).astype(self.dtype)


def contract_axes(
  x: Float[Array, "*dims"], kernel: Float[Array, "*matrix"], axes: int
) -> Float[Array, "*out"]:
  """Sums over the last `axes` axes of `x` and the first of `kernel`.

  On one CPU device, both lie flat as matrices and the result is written to memory, as
  its gradient then is. Left alone, XLA lays that gradient out by columns, for the sake
  of one product, and computes all that leads to it in that order: a fifth of a step.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if target_platform() != "cpu" or not (mesh.empty or mesh.size == 1):
    return jnp.tensordot(x, kernel, axes=axes)
  size, outputs = math.prod(kernel.shape[:axes]), kernel.shape[axes:]
  y = x.reshape(-1, size) @ kernel.reshape(size, -1)
  return jax.lax.optimization_barrier(y).reshape(x.shape[:-axes] + outputs)


class LayerNorm(nn.Module):
  """Layer norm over the last axis, computed in float32, returned in the input's dtype.

  The variance is the mean of squared deviations (two passes), not the difference of
  two large means.
  """

  epsilon: float = 1e-6
  use_scale: bool = True
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "*dims d"]) -> Float[Array, "*dims d"]:
    """Zero mean and unit variance, then a learned scale and shift."""
    x32 = x.astype(jnp.float32)
    centred = x32 - x32.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(variance + self.epsilon)
    if self.use_scale:
      y = y * self.param("scale", named(nn.initializers.ones, "embed"), x.shape[-1:])
    if self.use_bias:
      y = y + self.param("bias", named(nn.initializers.zeros, "embed"), x.shape[-1:])
    return y.astype(x.dtype)


class RMSNorm(nn.Module):
  """Divides by the root mean square of the last axis, in float32; a learned scale.

  Source: *Root Mean Square Layer Normalization*, Zhang and Sennrich, 2019.
  """

  epsilon: float = 1e-6
  use_scale: bool = True
  axis: str = "embed"

  @nn.compact
  def __call__(self, x: Float[Array, "*dims d"]) -> Float[Array, "*dims d"]:
    """Unit mean square, then the scale."""
    x32 = x.astype(jnp.float32)
    square = jnp.square(x32).mean(-1, keepdims=True)
    y = x32 * jax.lax.rsqrt(square + self.epsilon)
    if self.use_scale:
      y = y * self.param("scale", named(nn.initializers.ones, self.axis), x.shape[-1:])
    return y.astype(x.dtype)


class Mlp(nn.Module):
  """Two linear maps with an activation between; dropout after each of them."""

  hidden: int
  activation: str = "gelu"
  dropout: float = 0.0
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "*dims d"], *, train: bool
  ) -> Float[Array, "*dims d"]:
    """Maps d -> hidden -> d."""
    width = x.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=not train)
    up = Linear(
      (self.hidden,),
      ("embed", "mlp"),
      use_bias=self.use_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="up",
    )
    down = Linear(
      (width,),
      ("mlp", "embed"),
      use_bias=self.use_bias,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="down",
    )
    y = drop(activation(self.activation)(up(x)))  # ... hidden
    return drop(down(y))


class GatedMlp(nn.Module):
  """down(activation(gate(x)) * up(x)): three linear maps, one product.

  Source: *GLU Variants Improve Transformer*, Shazeer, 2020; `kind` is one of `GATES`.
  """

  hidden: int
  kind: str = "swiglu"
  use_bias: bool = False
  kernel_init: Initializer = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*dims d"]) -> Float[Array, "*dims d"]:
    """Maps d -> hidden, twice -> d."""

    def linear(features: int, axes: tuple[str, str], name: str) -> Linear:
      """One of the three maps."""
      return Linear(
        (features,),
        axes,
        use_bias=self.use_bias,
        kernel_init=self.kernel_init,
        dtype=self.dtype,
        name=name,
      )

    gate = activation(GATES[self.kind])(
      linear(self.hidden, ("embed", "mlp"), "gate")(x)
    )
    up = linear(self.hidden, ("embed", "mlp"), "up")(x)  # ... hidden
    return linear(x.shape[-1], ("mlp", "embed"), "down")(gate * up)


def conv(
  features: int,
  side: int = 3,
  *,
  strides: Sequence[int] = (1, 1),
  groups: int = 1,
  use_bias: bool = True,
  dtype: DTypeLike = jnp.float32,
  name: str | None = None,
) -> nn.Conv:
  """A square convolution of an odd `side`, padded by half of it.

  It starts as He's initialisation by outgoing weights.

  Source: *Delving Deep into Rectifiers*, He et al., 2015, section 2.2.
  """
  kernel = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  return nn.Conv(
    features,
    (side, side),
    strides=tuple(strides),
    padding=((side // 2, side // 2),) * 2,
    feature_group_count=groups,
    conv_general_dilated=_convolve_rows if groups > 1 else None,
    use_bias=use_bias,
    dtype=dtype,
    kernel_init=named(kernel, None, None, None, "embed"),
    bias_init=named(nn.initializers.zeros, "embed"),
    name=name,
  )


def _convolve_rows(
  x: jax.Array, kernel: jax.Array, *args: Any, **how: Any
) -> jax.Array:
  """A convolution of each device's rows."""

  def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """That of some rows."""
    return jax.lax.conv_general_dilated(x, kernel, *args, **how)

  return by_rows(convolve, x, kernel)


def drop_path(
  key: Key[Array, ""],
  branch: Float[Array, "b *dims"],
  rate: float | Float[Array, ""],
) -> Float[Array, "b *dims"]:
  """Zeroes a residual branch for whole examples with probability `rate` < 1.

  What is kept is divided by 1 - rate, so that the expectation is the branch itself.
  """
  shape = branch.shape[:1] + (1,) * (branch.ndim - 1)
  keep = jax.random.bernoulli(key, 1.0 - rate, shape)
  scale = (keep / (1.0 - rate)).astype(branch.dtype)  # b 1 ...
  return branch * scale


def drop_rates(last: float, depth: int) -> list[float]:
  """Drop-path rate of each block: 0 for the first, linear up to `last`."""
  return [last * i / max(depth - 1, 1) for i in range(depth)]
