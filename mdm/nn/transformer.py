"""Transformer stacks: self-attention, optional cross-attention, MLP; depth times.

Source: *Attention Is All You Need*, Vaswani et al., 2017 (post-norm, `norm_first`
False: norm after each sum) and *On Layer Normalization in the Transformer
Architecture*, Xiong et al., 2020 (pre-norm: norm inside each branch and one at the
end). `CrossDecoder` with its defaults is the decoder trunk of *MDiff4STR*, 2025,
dropout included: after the activation, after the MLP, and again on its branch.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.nn.attention import NOTES, Attention
from mdm.nn.layers import Initializer, LayerNorm, Mlp, drop_path, drop_rates

REMAT = ("none", "dots", "full")
_PASSED_ON = (  # what a stack tells its blocks
  "heads",
  "mlp_ratio",
  "dropout",
  "norm_first",
  "activation",
  "epsilon",
  "kernel_init",
  "dtype",
)


class Block(nn.Module):
  """One layer: tokens look at each other, at the memory if there is one, and think."""

  heads: int
  mlp_ratio: float = 4.0
  dropout: float = 0.0
  norm_first: bool = True
  activation: str = "gelu"
  epsilon: float = 1e-6
  deterministic: bool = True
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "br n d"],
    memory: Float[Array, "b m e"] | None = None,
    visible: Bool[Array, "#br 1 #n k"] | None = None,
    rate: float | Float[Array, ""] | None = None,
    context: Int[Array, "br k"] | None = None,
  ) -> Float[Array, "br n d"]:
    """Applies the layer; `rate` is the share of dropped branches (None: no draw).

    Tokens look at those of the `context` only, at their states in this layer.

    `x` may hold several copies of each example, one after the other: they see only
    themselves, and share the keys and values of their example's memory.
    """
    make: dict[str, Any] = {"kernel_init": self.kernel_init, "dtype": self.dtype}
    own = Attention(self.heads, name="self_attention", **make)
    x = self._add(
      x, "norm_self", lambda y: own(y, visible=visible, context=context), rate
    )
    if memory is not None:
      cross = Attention(self.heads, name="cross_attention", **make)

      def look(y: jax.Array) -> jax.Array:
        """Looks at the memory, copies side by side."""
        queries = y.reshape(memory.shape[0], -1, y.shape[-1])  # b (r n) d
        return cross(queries, memory).reshape(y.shape)  # br n d

      x = self._add(x, "norm_cross", look, rate)
    hidden = round(x.shape[-1] * self.mlp_ratio)
    mlp = Mlp(hidden, self.activation, self.dropout, name="mlp", **make)
    return self._add(
      x, "norm_mlp", lambda y: mlp(y, train=not self.deterministic), rate
    )

  def _add(self, x, norm, branch, rate):  # noqa: ANN001, ANN202
    """Adds a branch to x, normalised before or after."""
    norm = LayerNorm(self.epsilon, name=norm)
    y = branch(norm(x) if self.norm_first else x)
    y = nn.Dropout(self.dropout, deterministic=self.deterministic)(y)
    if rate is not None and not self.deterministic:
      y = drop_path(self.make_rng("dropout"), y, rate)
    return x + y if self.norm_first else norm(x + y)


def rematerialised(
  block: type[nn.Module], remat: str, *, scanned: bool = False
) -> type[nn.Module]:
  """The block class with its activations recomputed in the backward pass.

  Args:
    block: a module class.
    remat: "none" keeps all activations, "dots" only the results of linear maps,
      "full" only the block's input.
    scanned: whether the block is the body of a scan, where the guard against common
      subexpressions is not needed.

  Raises:
    ValueError: for another `remat`.
  """
  if remat not in REMAT:
    raise ValueError(f"remat = {remat!r} is not known; choose one of {REMAT}.")
  if remat == "none":
    return block
  policy = (
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    if remat == "dots"
    else jax.checkpoint_policies.nothing_saveable
  )
  return nn.remat(block, policy=policy, prevent_cse=not scanned)


class Stack(nn.Module):
  """`depth` blocks of one width, unrolled or scanned; the base of what follows.

  Attributes:
    drop_path: rate of the last block; grows linearly from 0 at the first.
    remat: "none", "dots" or "full", see `rematerialised`.
    scan: one compiled block for all layers; parameters are stacked in `blocks` on a
      leading axis "layers" instead of lying in `block_0`, `block_1`, ...
    has_norm: whether a norm ends a stack whose norms come first.
  """

  depth: int
  heads: int
  mlp_ratio: float = 4.0
  dropout: float = 0.0
  drop_path: float = 0.0
  norm_first: bool = True
  activation: str = "gelu"
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  has_norm: bool = True
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def run(
    self,
    x: Float[Array, "br n d"],
    memory: Float[Array, "b m e"] | None = None,
    visible: Bool[Array, "#br 1 #n k"] | None = None,
    context: Int[Array, "br k"] | None = None,
    *,
    train: bool,
  ) -> Float[Array, "br n d"]:
    """All blocks in turn, and a last norm where norms come first."""
    x = x.astype(self.dtype)
    memory = None if memory is None else memory.astype(self.dtype)
    block = rematerialised(Block, self.remat, scanned=self.scan)
    settings = {name: getattr(self, name) for name in _PASSED_ON}
    settings["deterministic"] = not train
    rates = drop_rates(self.drop_path, self.depth)
    if self.scan:
      scanned = block(name="blocks", **settings)
      x = self._scan(scanned, x, memory, visible, context, rates)
    else:
      for i, rate in enumerate(rates):
        layer = block(name=f"block_{i}", **settings)
        x = layer(x, memory, visible, rate or None, context)
    is_normed = self.norm_first and self.has_norm
    return LayerNorm(self.epsilon, name="norm")(x) if is_normed else x

  def _scan(self, block, x, memory, visible, context, rates):  # noqa: ANN001, ANN202
    def body(block: nn.Module, x: jax.Array, rate: jax.Array | None) -> tuple:
      """One layer of the scan."""
      return block(x, memory, visible, rate, context), None

    layers = nn.scan(
      body,
      variable_axes={"params": 0, NOTES: 0},
      split_rngs={"params": True, "dropout": True},
      length=self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return layers(block, x, jnp.asarray(rates) if self.drop_path else None)[0]


class Transformer(Stack):
  """Self-attention only: [b n d] -> [b n d]."""

  def __call__(
    self,
    x: Float[Array, "b n d"],
    visible: Bool[Array, "#b 1 #n k"] | None = None,
    context: Int[Array, "b k"] | None = None,
    *,
    train: bool,
  ) -> Float[Array, "b n d"]:
    """Encodes tokens; `visible` None means every token sees every other.

    Where the places of a `context` are given, only its tokens are seen, in every layer
    at their states there.
    """
    return self.run(x, None, visible, context, train=train)


class CrossDecoder(Stack):
  """Decoder trunk: r copies per example, each attending to itself and the memory.

  The defaults are those published for the Small reader; Base has depth 6.
  """

  depth: int = 3
  heads: int = 6
  dropout: float = 0.1
  norm_first: bool = False
  activation: str = "relu"
  epsilon: float = 1e-5

  def __call__(
    self,
    x: Float[Array, "b r n d"],
    memory: Float[Array, "b m e"],
    *,
    train: bool,
  ) -> Float[Array, "b r n d"]:
    """Reads the memory; copies never see each other, nothing is hidden in a copy."""
    copies = x.reshape(-1, *x.shape[2:])  # br n d
    return self.run(copies, memory, train=train).reshape(x.shape)  # b r n d
