"""Decoders of patches: from tokens of what was seen to what was hidden.

One learned token stands in place of each hidden patch. A patch is known by its
position's embedding alone, so the order in which patches are held is free: kept ones
first, hidden ones after, each in raster order.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2022, section 3,
and its code. Difference: the code puts tokens in raster order, and predicts visible
patches too; here they stay in order of the split, and only what is asked for is
computed.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mdm.masks.scores import Split
from mdm.nn.layers import Initializer, Linear, named
from mdm.nn.patches import take_tokens
from mdm.nn.positions import grid_sincos
from mdm.nn.transformer import Transformer

SMALL = nn.initializers.normal(0.02)


class PatchDecoder(nn.Module):
  """Tokens of visible patches among learned ones in place of hidden patches; its base.

  Parameters: `embed`, `mask_embedding`, and of each reading `stack` and `head`.

  Attributes:
    mlp_ratio, remat, scan: see `transformer.Stack`.
  """

  width: int = 512
  depth: int = 8
  heads: int = 16
  mlp_ratio: float = 4.0
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  kernel_init: Initializer = nn.initializers.xavier_uniform()
  dtype: DTypeLike = jnp.float32

  def _enter(
    self, tokens: Float[Array, "b t d"], split: Split, grid: Sequence[int]
  ) -> Float[Array, "b s e"]:
    """Others (a class token), kept patches, hidden ones; each but others placed."""
    others = tokens.shape[1] - split.keep.shape[1]
    x = Linear((self.width,), ("embed", None), name="embed", **self._make())(tokens)
    init = named(SMALL, None, None, None)
    token = self.param("mask_embedding", init, (1, 1, self.width)).astype(x.dtype)
    hidden = jnp.broadcast_to(token, (*split.hide.shape, self.width))  # b m d
    places = jnp.asarray(grid_sincos(grid[0], grid[1], self.width))[None].astype(
      x.dtype
    )
    order = jnp.concatenate([split.keep, split.hide], axis=1)  # b n
    patches = jnp.concatenate([x[:, others:], hidden], axis=1) + take_tokens(
      places, order
    )
    return jnp.concatenate([x[:, :others], patches], axis=1)

  def _read(
    self,
    x: Float[Array, "b s e"],
    split: Split,
    features: int,
    *,
    of_all: bool,
    train: bool,
    name: str = "",
  ) -> Float[Array, "b m q"]:
    """Hidden patches' values, or all patches' in raster order; `name` comes first."""
    x = Transformer(
      depth=self.depth,
      heads=self.heads,
      mlp_ratio=self.mlp_ratio,
      epsilon=self.epsilon,
      has_norm=True,
      remat=self.remat,
      scan=self.scan,
      name=f"{name}stack",
      **self._make(),
    )(x, train=train)
    patches = x[:, x.shape[1] - split.mask.shape[1] :]  # b n e
    last = patches[:, split.keep.shape[1] :]  # b m e
    x = take_tokens(patches, split.restore) if of_all else last
    head = Linear((features,), ("embed", None), name=f"{name}head", **self._make())
    return head(x).astype(jnp.float32)  # b m q

  def _make(self) -> dict:
    return {"kernel_init": self.kernel_init, "dtype": self.dtype}


class MaskedDecoder(PatchDecoder):
  """Tokens of visible patches to predictions of hidden ones, or of all.

  Parameters: `embed`, `mask_embedding`, `stack`, `head`.
  """

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "b t d"],
    split: Split,
    grid: Sequence[int],
    features: int,
    *,
    of_all: bool = False,
    train: bool = False,
  ) -> Float[Array, "b m q"]:
    """Predicts `features` values of each hidden patch, in raster order.

    Args:
      tokens: of the kept patches, in the order of `split.keep`, after as many others
        (a class token) as there are more of them.
      split: which patches were kept.
      grid: rows and columns of patches.
      of_all: predict all patches, in raster order, the visible ones too.
    """
    x = self._enter(tokens, split, grid)
    return self._read(x, split, features, of_all=of_all, train=train)


class TwinDecoder(PatchDecoder):
  """Two decoders of the same tokens: one predicts patches, one its twin's losses.

  Parameters: those of `MaskedDecoder`, and `loss_stack` and `loss_head`.

  Source: *Hard Patches Mining for Masked Image Modeling*, Wang et al., 2023, section
  3.2, and its code, where a loss is the mean of as many outputs as a patch has values.
  """

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "b t d"],
    split: Split,
    grid: Sequence[int],
    features: int,
    *,
    of_all: bool = False,
    train: bool = False,
  ) -> tuple[Float[Array, "b m q"], Float[Array, "b m"]]:
    """What `MaskedDecoder` predicts, and for each patch how large its loss will be."""
    x = self._enter(tokens, split, grid)
    predicted, losses = (
      self._read(x, split, features, of_all=of_all, train=train, name=name)
      for name in ("", "loss_")
    )  # each b m q
    return predicted, losses.mean(-1)


class LinearDecoder(nn.Module):
  """Tokens of all patches, each to its own prediction by one linear map.

  Stands where `MaskedDecoder` does, after an encoder that saw a mask token in place of
  each hidden patch. A convolution of 1 x 1 and a shuffle of pixels are the same map.

  Source: *SimMIM: A Simple Framework for Masked Image Modeling*, Xie et al., 2022,
  section 3.3. Parameters: `head`.
  """

  kernel_init: Initializer = nn.initializers.xavier_uniform()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "b t d"],
    split: Split,
    grid: Sequence[int],
    features: int,
    *,
    of_all: bool = False,
    train: bool = False,
  ) -> Float[Array, "b m q"]:
    """Predicts `features` values of each hidden patch, in raster order.

    Args:
      tokens: of all patches in raster order, after as many others (a class token) as
        there are more of them.
      split: which patches are hidden.
      of_all: predict all patches, the visible ones too.
    """
    del grid, train
    patches = tokens[:, tokens.shape[1] - split.mask.shape[1] :]  # b n d
    x = patches if of_all else take_tokens(patches, split.hide)
    head = Linear(
      (features,),
      ("embed", None),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="head",
    )
    return head(x).astype(jnp.float32)  # b m q
