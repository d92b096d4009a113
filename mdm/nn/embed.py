"""The input of a reader's decoder: what stands on the canvas, and where.

Source: *MDiff4STR: Mask Diffusion Model for Scene Text Recognition*, 2025, and its
public code: embedding times sqrt(d), plus fixed sinusoids, dropout, plus a learned
table of positions. Neither time nor mask ratio enters.

Differences:
  - the public code declares the end-of-text id a padding index, whose embedding gets
    no gradient; here every row trains.
  - its position table is cut at +-2, a hundred standard deviations away; here it is
    simply normal, the same distribution.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from mdm.nn.layers import named
from mdm.nn.positions import sinusoids


class CanvasEmbed(nn.Module):
  """dropout(sqrt(d) * embedding[tokens] + sinusoids) + position.

  Attributes:
    num_embeddings: rows of the embedding (characters + end, mask and padding).
    length: longest canvas, rows of the learned position table.
  """

  num_embeddings: int
  length: int
  width: int
  dropout: float = 0.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, tokens: Int[Array, "b r n"], *, train: bool
  ) -> Float[Array, "b r n d"]:
    """Embeds r canvases of each example.

    Raises:
      ValueError: if the canvas is longer than the position table.
    """
    n, d = tokens.shape[-1], self.width
    if n > self.length:
      raise ValueError(f"canvas of {n} tokens, but length = {self.length} positions.")
    table = self.param(
      "embedding",
      named(nn.initializers.normal(d**-0.5), "vocab", "embed"),
      (self.num_embeddings, d),
    )
    position = self.param(
      "position",
      named(nn.initializers.normal(0.02), None, "embed"),
      (self.length, d),
    )
    x = jnp.take(table, tokens, axis=0) * d**0.5 + sinusoids(n, d)  # b r n d
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return (x + position[:n]).astype(self.dtype)  # b r n d
