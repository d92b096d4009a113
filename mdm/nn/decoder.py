"""A causal language model of blocks whose token mixer is chosen in the config.

  y = a1 x + mixer(norm(x));  z = a2 y + mlp(norm(y))

with a1 and a2 one learned factor per channel, ones at the start. The mixer is any
module of `mdm.nn.mixers`: dense, window, latent, native sparse, or dynamic mask
attention, which with these blocks is the published network (Doge).

Source: *Trainable Dynamic Mask Sparse Attention*, Shi et al., 2025, and the authors'
model code; *GLU Variants Improve Transformer*, Shazeer, 2020 (the MLP).
Differences: published checkpoints have no row of the embedding for "nothing yet"; ours
have, unless `bos_id` names the token that stands before the first.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
from mdm.nn.layers import GATES, GatedMlp, Initializer, RMSNorm, named
from mdm.nn.mixers.layers import layer_mixer
from mdm.nn.transformer import rematerialised


class Context(NamedTuple):
  """What a mixer may know of the tokens besides themselves."""

  valid: Bool[Array, "b n"] | None = None
  segments: Int[Array, "b n"] | None = None
  positions: Int[Array, "#b n"] | None = None


class DecoderBlock(nn.Module):
  """One layer; see `Decoder` for its settings."""

  mixer: nn.Module
  hidden: int
  mlp: str = "swiglu"
  scales_residual: bool = True
  dropout: float = 0.0
  epsilon: float = 1e-6
  deterministic: bool = True
  kernel_init: Initializer = nn.initializers.normal(0.02)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    context: Context = Context(),  # noqa: B008  a tuple
    past: Any = None,
    start: Int[Array, ""] | int = 0,
  ) -> tuple[Float[Array, "b n d"], Any]:
    """Applies the layer; with a `past`, to tokens that follow it, which it then has."""
    y = RMSNorm(self.epsilon, name="norm_mixer")(x)
    if past is None:
      y = self.mixer(y, **context._asdict())
    else:
      y, past = self.mixer.extend(y, past, start=start, valid=context.valid)
    x = self._add("mixer_scale", x, y)
    mlp = GatedMlp(
      self.hidden,
      self.mlp,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="mlp",
    )
    y = mlp(RMSNorm(self.epsilon, name="norm_mlp")(x))
    return self._add("mlp_scale", x, y), past

  def _add(
    self, name: str, x: Float[Array, "b n d"], y: Float[Array, "b n d"]
  ) -> Float[Array, "b n d"]:
    """The scaled input and a branch."""
    y = nn.Dropout(self.dropout, deterministic=self.deterministic)(y)
    if self.scales_residual:
      ones = named(nn.initializers.ones, "embed")
      x = x * self.param(name, ones, x.shape[-1:]).astype(x.dtype)
    return x + y


class Decoder(nn.Module):
  """Tokens [b n] to float32 logits [b n v] of the tokens that follow them.

  Attributes:
    vocab_size: classes V.
    mixer: mixes tokens, the past into each; the same settings in every layer.
    mlp_ratio: hidden units of the MLP as a multiple of the width.
    mlp: its gate, "swiglu", "geglu" or "sigmoid-gated".
    bos_id: the class that stands before the first token; None for a further row V of
      the embedding, which no text can hold.
    scales_residual: whether a1 and a2 are learned; False for plain sums.
    ties_head: whether the head is the embedding, transposed.
    init_std: of all tables and linear maps, the mixer's included.
    dropout: on each branch.
    remat: "none", "dots" or "full", see `transformer.rematerialised`.
    scan: one compiled block for all layers; parameters stacked in `blocks`.
  """

  vocab_size: int
  mixer: nn.Module
  width: int = 256
  depth: int = 4
  mlp_ratio: float = 4.0
  mlp: str = "swiglu"
  bos_id: int | None = None
  scales_residual: bool = True
  ties_head: bool = True
  init_std: float = 0.02
  dropout: float = 0.0
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @property
  def is_causal(self) -> bool:
    """That a token sees only itself and those before it."""
    return True

  @property
  def time(self) -> str:
    """That the network hears no time."""
    return "none"

  def __call__(
    self,
    tokens: Int[Array, "b n"],
    t: Float[Array, "b"] | None = None,
    *,
    valid: Bool[Array, "b n"] | None = None,
    segments: Int[Array, "b n"] | None = None,
    positions: Int[Array, "#b n"] | None = None,
    outputs: int | None = None,
    train: bool = False,
  ) -> Float[Array, "b q v"]:
    """Logits of the V classes at every position, or at the first `outputs` of them.

    Args:
      t: not read; every network of text can be given one.
      valid: False for padding, which no token ever sees.
      segments: runs of equal numbers, one for each packed document, which sees itself
        alone.
      positions: of the tokens; None for 0, 1, 2, ...
      outputs: how many positions get logits; None for all.

    Raises:
      ValueError: settings out of range.
    """
    del t
    context = Context(valid, segments, positions)
    return self._run(tokens, context, outputs=outputs, train=train)[0]

  def init_cache(self, batch: int, length: int) -> Any:
    """What every layer's mixer keeps of texts of `length` tokens, layers first."""
    cache = self._layer_mixer().init_cache(batch, length)
    return jax.tree.map(
      lambda x: jnp.broadcast_to(x[None], (self.depth, *x.shape)), cache
    )

  def extend(
    self,
    tokens: Int[Array, "b n"],
    cache: Any,
    *,
    start: int | Int[Array, ""],
    valid: Bool[Array, "b n"] | None = None,
  ) -> tuple[Float[Array, "b n v"], Any]:
    """Logits of tokens at positions start, start + 1, ..., after all in the cache.

    Returns the cache with these tokens too; those that are not `valid` leave no trace.
    """
    return self._run(tokens, Context(valid), cache, start)

  @nn.compact
  def _run(
    self,
    tokens: Int[Array, "b n"],
    context: Context,
    past: Any = None,
    start: Int[Array, ""] | int = 0,
    *,
    outputs: int | None = None,
    train: bool = False,
  ) -> tuple[Float[Array, "b q v"], Any]:
    """What `__call__` and `extend` share."""
    self._check()
    init = nn.initializers.normal(self.init_std)
    rows = self.vocab_size + (self.bos_id is None)
    table = self.param("embedding", named(init, "vocab", "embed"), (rows, self.width))
    x = jnp.take(table, tokens, axis=0).astype(self.dtype)  # b n d
    x, past = self._layers(x, context, past, start, train=train)
    x = RMSNorm(self.epsilon, name="norm")(x[:, :outputs])
    if self.ties_head:
      kernel = table[: self.vocab_size].T  # d v
    else:
      shape = (self.width, self.vocab_size)
      kernel = self.param("head", named(init, "embed", "vocab"), shape)  # d v
    logits = jnp.einsum(
      "bnd,dv->bnv",
      x.astype(self.dtype),
      kernel.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return logits, past

  def _layers(
    self,
    x: Float[Array, "b n d"],
    context: Context,
    past: Any,
    start: Int[Array, ""] | int,
    *,
    train: bool,
  ) -> tuple[Float[Array, "b n d"], Any]:
    """All blocks in turn; `past` and what becomes of it have a first axis of layers."""
    remat = self.remat if past is None else "none"  # which would forget that start is 0
    block = rematerialised(DecoderBlock, remat, scanned=self.scan)
    if not self.scan:
      kept = []
      for i in range(self.depth):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], past)
        layer = block(name=f"block_{i}", **self._block_settings(train))
        x, own = layer(x, context, own, start)
        kept.append(own)
      if past is None:
        return x, None
      return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept)

    def body(block: nn.Module, x: jax.Array, past: Any) -> tuple[jax.Array, Any]:
      """One layer of the scan."""
      return block(x, context, past, start)

    layers = nn.scan(
      body,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      length=self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return layers(block(name="blocks", **self._block_settings(train)), x, past)

  def _block_settings(self, train: bool) -> dict[str, Any]:
    return {
      "mixer": self._layer_mixer(),
      "hidden": round(self.width * self.mlp_ratio),
      "mlp": self.mlp,
      "scales_residual": self.scales_residual,
      "dropout": self.dropout,
      "epsilon": self.epsilon,
      "deterministic": not train,
      "kernel_init": nn.initializers.normal(self.init_std),
      "dtype": self.dtype,
    }

  def _layer_mixer(self) -> Any:
    init = nn.initializers.normal(self.init_std)
    return layer_mixer(self.mixer, self.width, kernel_init=init)

  def _check(self) -> None:
    check_choice("mlp", self.mlp, GATES)
    if self.bos_id is not None and not 0 <= self.bos_id < self.vocab_size:
      raise ValueError(
        f"bos_id = {self.bos_id} is none of the {self.vocab_size} classes; give one, "
        "or None for a row of its own."
      )
