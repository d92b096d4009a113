"""Multi-head attention of tokens among themselves or to a memory.

Source: *Attention Is All You Need*, Vaswani et al., 2017, section 3.2. What may be
looked at is an argument (`visible`, True = may be seen), never a convention; a query
that may see nothing gets zeros, not an average of what is hidden.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.kernels.dispatch import target_platform
from mdm.nn.layers import Initializer, Linear
from mdm.nn.patches import take_tokens
from mdm.nn.placing import gather_tokens, keep_tokens
from mdm.nn.softmax import mix_by_softmax

NOTES = "notes"  # collection of what modules say of their insides


def attend(
  query: Float[Array, "b q h k"],
  key: Float[Array, "b m g k"],
  value: Float[Array, "b m g e"],
  visible: Bool[Array, "#b 1 #q m"] | None = None,
) -> Float[Array, "b q h e"]:
  """softmax(Q K^T / sqrt(k)) V for each head, over the visible keys only.

  Scores and softmax are float32, whatever the dtype of the inputs. Each of g heads of
  keys and values serves h / g consecutive heads of queries. Where a mesh cuts tokens,
  keys and values are gathered and queries stay.

  Source: *GQA: Training Generalized Multi-Query Transformer Models*, 2023 (g < h).
  """
  query, key, value = keep_tokens(query), gather_tokens(key), gather_tokens(value)
  if shared := query.shape[2] // key.shape[2] - 1:
    key, value = (jnp.repeat(x, shared + 1, axis=2) for x in (key, value))  # b m h k
  query = query * query.shape[-1] ** -0.5
  if target_platform() == "cpu":
    return _attend_by_heads(query, key, value, visible)
  scores = jnp.einsum(
    "bqhk,bmhk->bhqm", query, key, preferred_element_type=jnp.float32
  )  # b h q m
  if visible is not None:
    scores = jnp.where(visible, scores, jnp.finfo(jnp.float32).min)
  share = jax.nn.softmax(scores, axis=-1)
  if visible is not None:  # a row that sees nothing would be uniform otherwise
    share = jnp.where(visible, share, 0.0)
  return jnp.einsum("bhqm,bmhe->bqhe", share.astype(value.dtype), value)  # b q h e


def _attend_by_heads(
  query: Float[Array, "b q h k"],
  key: Float[Array, "b m h k"],
  value: Float[Array, "b m h e"],
  visible: Bool[Array, "#b 1 #q m"] | None,
) -> Float[Array, "b q h e"]:
  """The same of scaled queries, for a CPU: each head's rows next to each other."""
  query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))  # b h n k
  scores = jnp.einsum(
    "bhqk,bhmk->bhqm", query, key, preferred_element_type=jnp.float32
  )  # b h q m
  if visible is not None:
    scores = jnp.where(visible, scores, jnp.finfo(jnp.float32).min)
  mixed = mix_by_softmax(scores, value)  # b h q e
  if visible is not None:  # a row that sees nothing would be uniform otherwise
    mixed = jnp.where(visible.any(-1, keepdims=True), mixed, 0.0)
  return jnp.swapaxes(mixed, 1, 2)  # b q h e


def attend_and_weigh(
  query: Float[Array, "b q h k"],
  key: Float[Array, "b m g k"],
  value: Float[Array, "b m g k"],
  marked: Bool[Array, "b m"],
  visible: Bool[Array, "#b 1 #q m"] | None = None,
) -> tuple[Float[Array, "b q h k"], Float[Array, "b q h"]]:
  """What `attend` gives, and the share of each query's attention on marked keys.

  The share is one more channel of the values, 1 for a marked key and 0 for others, so
  that no map of queries and keys is kept for it.
  """
  mark = jnp.broadcast_to(marked[:, :, None, None], (*value.shape[:3], 1))
  value = jnp.concatenate([value, mark.astype(value.dtype)], axis=-1)  # b m g k+1
  mixed = attend(query, key, value, visible)  # b q h k+1
  return mixed[..., :-1], mixed[..., -1].astype(jnp.float32)


class Attention(nn.Module):
  """Self-attention, or attention to `memory` where one is given.

  The keys and values of a memory are computed once, for all queries; those of a
  `context` for its tokens only. Parameters: `qkv` (one fused map, with or without a
  context) or `query` and `key_value`, and `out`. Notes: `marked`, where keys are.
  """

  heads: int
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b q d"],
    memory: Float[Array, "b m e"] | None = None,
    *,
    visible: Bool[Array, "#b 1 #q m"] | None = None,
    context: Int[Array, "b m"] | None = None,
    marked: Bool[Array, "b m"] | None = None,
  ) -> Float[Array, "b q d"]:
    """Mixes tokens; the width of the result is that of `x`.

    Args:
      visible: which keys each query may see; None for all.
      context: places of the tokens of `x` that have keys and values; None for all.
      marked: keys whose share of each query's attention, [b q], a mean over heads, is
        put down as `marked` in the collection "notes" if that is mutable.

    Raises:
      ValueError: if the width is no multiple of the number of heads.
    """
    width = x.shape[-1]
    if width % self.heads:
      raise ValueError(
        f"width = {width} is no multiple of heads = {self.heads}; change one of them."
      )
    split = (self.heads, width // self.heads)
    if memory is None and context is not None:
      project = self._project((3, *split), "qkv")
      query = project(x, slice(0, 1))[:, :, 0]  # b q h k
      pair = project(take_tokens(x, context), slice(1, 3))  # b m 2 h k
      key, value = jnp.moveaxis(pair, 2, 0)  # each b m h k
    elif memory is None:
      qkv = self._project((3, *split), "qkv")(x)  # b q 3 h k
      query, key, value = jnp.moveaxis(qkv, 2, 0)  # each b q h k
    else:
      query = self._project(split, "query")(x)  # b q h k
      pair = self._project((2, *split), "key_value")(memory)  # b m 2 h k
      key, value = jnp.moveaxis(pair, 2, 0)  # each b m h k
    if marked is None:
      mixed = attend(query, key, value, visible)  # b q h k
    else:
      mixed, share = attend_and_weigh(query, key, value, marked, visible)
      self.sow(NOTES, "marked", share.mean(-1))  # b q
    out = Linear(
      (width,),
      ("heads", "kv", "embed"),
      contract=2,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="out",
    )
    return out(mixed)  # b q d

  def _project(self, features: tuple[int, ...], name: str) -> Linear:
    axes = ("embed", *[None] * (len(features) - 2), "heads", "kv")
    return Linear(
      features, axes, kernel_init=self.kernel_init, dtype=self.dtype, name=name
    )
