"""The small network in which mixers are compared on recall: short convolutions help.

  x = embedding;  x <- x + mixer(conv(norm x)) in each layer;  logits = norm(x) E^T
  conv(x) = conv3(x) * (x W + b) + x          causal, a filter per channel

Parameters start N(0, 0.02), the mixer's output map smaller by sqrt(2 depth), biases 0,
filters uniform in +-1/sqrt(3).

Source: *Zoology: Measuring and Improving Recall in Efficient Language Models*, Arora et
al., 2023, sections 3 and 4, and its public code.
Differences:
  - `pattern="both"`, the default, has a convolution before every mixer; the public
    configs have "alternate" layers, the first of them a convolution alone.
  - no dropout of attention; the MLP's second map starts as its first.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from mdm.masks.choices import check_choice
from mdm.nn.layers import Initializer, LayerNorm, Linear, Mlp, named
from mdm.nn.mixers.layers import layer_mixer

PATTERNS = ("both", "alternate")
INIT_STD = 0.02


class BaseConv(nn.Module):
  """y = conv(x) * linear(x) + x, the convolution causal and within channels.

  Attributes:
    taps: tokens that a filter sees, the present one and those just before it.
  """

  taps: int = 3
  kernel_init: Initializer = nn.initializers.normal(INIT_STD)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    """Mixes each token with those just before it, channel by channel."""
    n, d = x.shape[1:]
    bound = self.taps**-0.5

    def init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
      """Uniform filters, as PyTorch's."""
      return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

    filters = self.param("filters", named(init, None, "embed"), (self.taps, d))
    bias = self.param("bias", named(init, "embed"), (d,))
    padded = jnp.pad(x, ((0, 0), (self.taps - 1, 0), (0, 0)))
    mixed = sum(
      filters[k].astype(self.dtype) * padded[:, k : k + n] for k in range(self.taps)
    ) + bias.astype(self.dtype)  # b n d
    linear = Linear(
      (d,),
      ("embed", None),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="linear",
    )
    return mixed * linear(x) + x


class ZoologyBlock(nn.Module):
  """A layer: short convolution and mixer in one branch, an MLP in another.

  Attributes:
    mixer: None for a convolution alone.
    taps: 0 for a mixer alone.
    hidden: of the MLP; 0 for none.
  """

  mixer: nn.Module | None
  taps: int
  hidden: int = 0
  dropout: float = 0.0
  epsilon: float = 1e-5
  kernel_init: Initializer = nn.initializers.normal(INIT_STD)
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"], *, train: bool) -> Float[Array, "b n d"]:
    """Adds the branches."""
    drop = nn.Dropout(self.dropout, deterministic=not train)
    y = LayerNorm(self.epsilon, name="norm_mixer")(x)
    if self.taps:
      y = BaseConv(self.taps, self.kernel_init, self.dtype, name="conv")(y)
    if self.mixer is not None:
      y = self.mixer(y)
    x = x + drop(y)
    if not self.hidden:
      return x
    mlp = Mlp(
      self.hidden,
      activation="gelu",
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="mlp",
    )
    return x + drop(mlp(LayerNorm(self.epsilon, name="norm_mlp")(x), train=train))


class Zoology(nn.Module):
  """Tokens [b n] to float32 logits [b q v] at the places asked for.

  Attributes:
    vocab_size: classes V, each with a row of the embedding, which is the head too.
    mixer: mixes tokens, the past into each; the same settings in every layer.
    taps: of the short convolutions; 0 for none.
    pattern: "both" in every layer, or "alternate": a convolution, a mixer, and so on.
    mlp_ratio: hidden units of the MLP as a multiple of the width; 0 for no MLP.
    max_length: learned positions, so many; 0 for none.
    embed_dropout: of the embedding.
    dropout: on each branch.
  """

  vocab_size: int
  mixer: nn.Module
  width: int = 64
  depth: int = 2
  taps: int = 3
  pattern: str = "both"
  mlp_ratio: float = 0.0
  max_length: int = 0
  embed_dropout: float = 0.1
  dropout: float = 0.0
  epsilon: float = 1e-5
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, "b n"],
    *,
    places: Int[Array, "b q"] | None = None,
    train: bool = False,
  ) -> Float[Array, "b q v"]:
    """Logits of what is due at some positions of each row; None for at all of them.

    Raises:
      ValueError: an unknown pattern, or more tokens than learned positions.
    """
    self._check(tokens.shape[1])
    init = nn.initializers.normal(INIT_STD)
    shape = (self.vocab_size, self.width)
    table = self.param("embedding", named(init, "vocab", "embed"), shape)
    x = jnp.take(table, tokens, axis=0).astype(self.dtype)  # b n d
    if self.max_length:
      rows = named(init, None, "embed")
      position = self.param("position", rows, (self.max_length, self.width))
      x = x + position[: tokens.shape[1]].astype(self.dtype)
    x = nn.Dropout(self.embed_dropout, deterministic=not train)(x)
    for i in range(self.depth):
      x = self._block(i, init)(x, train=train)
    if places is not None:
      x = jnp.take_along_axis(x, places[..., None], axis=1)  # b q d
    x = LayerNorm(self.epsilon, name="norm")(x)
    return jnp.einsum(
      "bqd,vd->bqv",
      x.astype(self.dtype),
      table.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )

  def _block(self, i: int, init: Initializer) -> ZoologyBlock:
    """Layer i; in "alternate" the even ones convolve and the odd ones mix."""
    is_both = self.pattern == "both"
    mixer = layer_mixer(
      self.mixer,
      self.width,
      kernel_init=init,
      out_scale=(2 * self.depth) ** -0.5,
      dtype=self.dtype,
    )
    return ZoologyBlock(
      mixer=mixer if is_both or i % 2 else None,
      taps=self.taps if is_both or i % 2 == 0 else 0,
      hidden=round(self.width * self.mlp_ratio),
      dropout=self.dropout,
      epsilon=self.epsilon,
      kernel_init=init,
      dtype=self.dtype,
      name=f"block_{i}",
    )

  def _check(self, length: int) -> None:
    check_choice("pattern", self.pattern, PATTERNS)
    if self.max_length and length > self.max_length:
      raise ValueError(
        f"{length} tokens exceed max_length = {self.max_length}; raise it, or write 0 "
        "for a network that learns no positions."
      )
