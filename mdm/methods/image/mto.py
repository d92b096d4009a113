"""MTO: mask tokens that stand apart from the data and that visible tokens pass over.

Three losses of mask tokens x_i and visible tokens x_j join those of a host, MAE or
SimMIM, whose network and masks stay as they are:

  p_ij = softmax_j(<x_i, x_j> / sqrt(d));  H_i = -sum_j p_ij log p_ij / log(visible)
  e    = 1 - mean_i H_i                       on tokens as they enter the first layer
  spa  = sum_l w_l  mean over visible queries and heads of attention on mask tokens
  r    = (mean_i |x_i| / mean_j |x_j| - 1)^2  on tokens as they enter the first layer
  loss = host's + ramp(t) (lambda_spa spa + lambda_e e + lambda_r r)

H is 1 where a mask token is related to no visible token more than to another, and near
0 where it is a copy of one. The layer's weight w_l = softmax(-l) favours early layers.

Source: *Emerging Property of Masked Token for Effective Pre-training*, Choi et al.,
2024. Neither its equations nor its code were at hand. Confirmed by its abstract and
its authors' pages: a mask token is one parameter wherever it stands; it is to differ
from all visible tokens ("data singularity"); visible tokens are to exclude mask tokens
from what they aggregate; constraints depend on the depth of the layer; entropy of a
softmax measures heterogeneity; the losses are called L_spa, L_e and L_r. OUR READING,
not confirmed: every equation above, which token enters it, all factors, the ramp, and
that no gradient of e and r flows into visible tokens. A proof in the paper's supplement
is said to lower the entropy of rows of a softmax; ours raises that of H.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm.masks.scores import Split, split_by_mask
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch
from mdm.methods.image.mae import Mae
from mdm.methods.image.simmim import SimMim
from mdm.nn.attention import NOTES, Attention
from mdm.nn.patches import take_tokens
from mdm.nn.transformer import Block, Transformer


class Mto(Mae, kw_only=True):
  """MTO over MAE, whose mask tokens enter its decoder.

  For another host: a class of the host and this one, in that order, that says which
  tokens are mask tokens. Evaluations and training without factors are the host's.

  Streams: those of the host.

  Attributes:
    exclusion, singularity, scale: lambda_spa, lambda_e and lambda_r.
    early: how many layers `spa` is a mean over, from the first.
    favour: w_l = softmax(-favour l); 0 for equal weights.
    ramp: share of the training in which the factors grow from 0.
  """

  exclusion: float = 0.1
  singularity: float = 0.1
  scale: float = 0.01
  early: int = 4
  favour: float = 1.0
  ramp: float = 0.05

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss`; in training also the host's part and the three terms."""
    factors = {"e": self.singularity, "spa": self.exclusion, "r": self.scale}
    if not train or not any(factors.values()) or self.is_initializing():
      return super().__call__(batch, train=train)
    image = self.prepare(batch, train=train)  # b y x c
    split = self.split(batch, image)
    predicted, notes = self.watch(image, split, train=train)
    error = self.errors(predicted, self.targets(image, split.hide))  # b m
    terms = self.terms(split, notes)
    ramp = jnp.minimum(jnp.asarray(batch.get("progress", 1.0)) / self.ramp, 1.0)
    added = ramp * sum(factors[name] * term for name, term in terms.items())  # b
    weights = self.weights(batch, error)
    found = {name: mean_of(term, self.weight(batch)) for name, term in terms.items()}
    return {
      "loss": mean_of(error + added[:, None], weights),
      "mto/host": mean_of(error, weights),
      **{f"mto/{name}": mean for name, mean in found.items()},
    }

  def terms(self, split: Split, notes: Mapping[str, Any]) -> dict[str, jax.Array]:
    """What each example's mask tokens add, [b] each; `spa` where it has a factor."""
    stack = notes["stack"]
    tokens = stack["tokens"][0]  # b t d
    visible, hidden = self.parts(split, tokens)  # b k d, b m d
    visible = jax.lax.stop_gradient(visible)
    lengths = (
      jnp.linalg.norm(x.astype(jnp.float32), axis=-1).mean(-1)
      for x in (hidden, visible)
    )  # each b
    found = {
      "e": 1.0 - heterogeneity(visible, hidden).mean(-1),
      "r": jnp.square(jnp.divide(*lengths) - 1.0),
    }
    if self.exclusion:
      marked = self.mask_tokens(split, tokens.shape[1])
      share = by_layer(stack, lambda block: block["self_attention"]["marked"][0])
      found["spa"] = excluded(share[: self.early], marked, self.favour)
    return found

  def heterogeneity(self, batch: Batch) -> Float[Array, "layers"]:
    """H of what enters each layer that holds mask tokens, a mean over a batch.

    The parameters may be those of the host alone.
    """
    image = self.prepare(batch, train=False)
    split = self.split(batch, image)
    _, notes = self.watch(image, split, in_depth=True, train=False)
    tokens = by_layer(notes["stack"], lambda block: block["tokens"][0])  # l b t d
    each = jax.vmap(lambda x: heterogeneity(*self.parts(split, x)).mean(-1))(tokens)
    weight = self.weight(batch)
    return (each * weight).sum(-1) / weight.sum()

  def watch(
    self,
    image: Float[Array, "b y x c"],
    split: Split,
    *,
    in_depth: bool = False,
    train: bool,
  ) -> tuple[Float[Array, "b m q"], Mapping[str, Any]]:
    """The host's predictions, and what its layers with mask tokens noted meanwhile.

    Args:
      in_depth: whether the tokens that enter each layer are noted, not the first alone.
    """
    noted = Block if in_depth else Transformer

    def note(go_on: Callable, args: tuple, kwargs: dict[str, Any], context: Any) -> Any:
      """Notes tokens before a module is called, and lets attention note its share."""
      module = context.module
      if context.method_name == "__call__" and module.path[:1] == (self.where(),):
        if isinstance(module, noted):
          module.sow(NOTES, "tokens", args[0])
        if isinstance(module, Attention) and self.exclusion:
          marked = self.mask_tokens(split, args[0].shape[1])
          kwargs = {**kwargs, "marked": marked}
      return go_on(*args, **kwargs)

    free, variables = self.unbind()
    has_keys = self.has_rng("dropout")
    with nn.intercept_methods(note):
      predicted, found = free.apply(
        variables,
        image,
        split,
        train=train,
        method="predict_patches",
        rngs={"dropout": self.make_rng("dropout")} if has_keys else {},
        mutable=[NOTES],
      )
    return predicted, found[NOTES][self.where()]

  def parts(
    self, split: Split, tokens: Float[Array, "b t d"]
  ) -> tuple[Float[Array, "b k d"], Float[Array, "b m d"]]:
    """Tokens of visible patches and mask tokens; a class token is neither."""
    patches = split.mask.shape[1]
    mask = self.mask_tokens(split, tokens.shape[1])[:, -patches:]
    places = split_by_mask(mask, split.keep.shape[1])
    tokens = tokens[:, -patches:]
    return take_tokens(tokens, places.keep), take_tokens(tokens, places.hide)

  def where(self) -> str:
    """The network that mask tokens enter."""
    return "decoder"

  def mask_tokens(self, split: Split, count: int) -> Bool[Array, "b {count}"]:
    """Which of its tokens they are: the last, after others and kept patches."""
    is_last = jnp.arange(count) >= count - split.hide.shape[1]
    return jnp.broadcast_to(is_last, (len(split.mask), count))


class MtoSimMim(SimMim, Mto, kw_only=True):
  """MTO over SimMIM, whose mask tokens enter its encoder: `image.mto.MtoSimMim`."""

  def where(self) -> str:
    """The network that mask tokens enter."""
    return "encoder"

  def mask_tokens(self, split: Split, count: int) -> Bool[Array, "b {count}"]:
    """Which of its tokens they are: those of hidden patches, in raster order."""
    others = count - split.mask.shape[1]
    return jnp.pad(split.mask, ((0, 0), (others, 0)))


def heterogeneity(
  visible: Float[Array, "b k d"], hidden: Float[Array, "b m d"]
) -> Float[Array, "b m"]:
  """H of each mask token in [0, 1]: the entropy of its affinities, over its largest.

  0 where there is one visible token alone.
  """
  count, width = visible.shape[1:]
  affinity = jnp.einsum(
    "bmd,bkd->bmk", hidden, visible, preferred_element_type=jnp.float32
  )
  log_p = jax.nn.log_softmax(affinity / width**0.5, axis=-1)  # b m k
  entropy = -(jnp.exp(log_p) * log_p).sum(-1)
  return entropy / jnp.log(jnp.maximum(count, 2))


def excluded(
  share: Float[Array, "l b t"], marked: Bool[Array, "b t"], favour: float
) -> Float[Array, "b"]:
  """Mean attention of visible queries on mask tokens, early layers weighing more.

  Args:
    share: of each query's attention on mask tokens, in each layer.
    marked: which queries are mask tokens themselves.
    favour: w_l = softmax(-favour l).
  """
  seen = ~marked
  mean = (share * seen).sum(-1) / seen.sum(-1)  # l b
  weight = jax.nn.softmax(-favour * jnp.arange(len(share)))
  return jnp.einsum("l,lb->b", weight, mean)


def by_layer(
  stack: Mapping[str, Any], read: Callable[[Mapping[str, Any]], jax.Array]
) -> Float[Array, "l *dims"]:
  """What every block of a stack noted, the first block's first, scanned or not."""
  if "blocks" in stack:
    return read(stack["blocks"])
  count = sum(name.startswith("block_") for name in stack)
  return jnp.stack([read(stack[f"block_{i}"]) for i in range(count)])
