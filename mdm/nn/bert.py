"""BERT's encoder: tokens, places and kinds embedded, then a post-norm transformer.

  x = norm(word[token] + place[i] + kind[segment]),  then depth layers

Source: *BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding*, Devlin et al., 2019, section 3, and its released code.
Differences:
  - padding has neither keys nor values, so that it changes no real token at all; the
    released code adds -10,000 to its scores.
  - dropout also follows the MLP's activation and not the attention's shares.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.nn.layers import Initializer, LayerNorm, named
from mdm.nn.transformer import Transformer

START = nn.initializers.truncated_normal(0.02)


class Bert(nn.Module):
  """Token rows to states, every token seeing every other: [b n] -> [b n d].

  The defaults are BERT-base; large is 1024 x 24 x 16 heads. Parameters:
  `word_embedding`, `position_embedding`, `type_embedding`, `norm` and `stack`.

  Attributes:
    vocab_size: V, rows of the table of words.
    length: longest row, of the table of places.
    types: how many kinds of segments there are.
    mlp_ratio, dropout, activation, epsilon, remat, scan: see `transformer.Stack`.
  """

  vocab_size: int = 30_522
  width: int = 768
  depth: int = 12
  heads: int = 12
  mlp_ratio: float = 4.0
  length: int = 512
  types: int = 2
  dropout: float = 0.1
  activation: str = "gelu"
  epsilon: float = 1e-12
  remat: str = "none"
  scan: bool = False
  kernel_init: Initializer = START
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, "b n"],
    *,
    valid: Bool[Array, "b n"] | None = None,
    segment: Int[Array, "b n"] | None = None,
    train: bool = False,
  ) -> Float[Array, "b n d"]:
    """Encodes token rows.

    Args:
      tokens: ids below `vocab_size`.
      valid: real tokens; None for all. What padding gets means nothing.
      segment: the kind of each token, below `types`; None for 0.

    Raises:
      ValueError: rows are longer than `length`.
    """
    n = tokens.shape[1]
    if n > self.length:
      raise ValueError(
        f"rows of {n} tokens are longer than the network's length = {self.length}; cut "
        "them."
      )
    x = jnp.take(self._table("word", self.vocab_size, "vocab"), tokens, axis=0)
    x = x + self._table("position", self.length)[:n]  # b n d
    kinds = self._table("type", self.types)
    x = x + (kinds[0] if segment is None else jnp.take(kinds, segment, axis=0))
    x = LayerNorm(self.epsilon, name="norm")(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    visible = None if valid is None else valid[:, None, None, :]  # b 1 1 n
    stack = Transformer(
      depth=self.depth,
      heads=self.heads,
      mlp_ratio=self.mlp_ratio,
      dropout=self.dropout,
      norm_first=False,
      activation=self.activation,
      epsilon=self.epsilon,
      remat=self.remat,
      scan=self.scan,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="stack",
    )
    return stack(x, visible, train=train)

  def _table(
    self, name: str, rows: int, axis: str | None = None
  ) -> Float[Array, "rows d"]:
    """A table of embeddings."""
    init = named(self.kernel_init, axis, "embed")
    return self.param(f"{name}_embedding", init, (rows, self.width))
