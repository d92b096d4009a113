"""Vision transformers: an encoder of the patches that are left, a decoder of all.

The encoder embeds just the patches it is given, so that what is hidden costs nothing.
The decoder puts one learned token in place of each hidden patch. Both know a patch by
its position's embedding alone, so the order in which they hold patches is free: kept
ones first, hidden ones after, each in raster order.

Source: *An Image is Worth 16x16 Words*, Dosovitskiy et al., 2021, section 3.1; *Masked
Autoencoders Are Scalable Vision Learners*, He et al., 2022, section 3, and its code.
Differences:
  - the code embeds all patches and drops some; dropping first gives the same tokens.
  - the code puts the decoder's tokens in raster order, and predicts visible patches
    too; here tokens stay in order of the split, and only what is asked for is computed.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
from mdm.masks.scores import Split
from mdm.nn.layers import Initializer, Linear, named
from mdm.nn.patches import grid_of, patchify, take_tokens
from mdm.nn.positions import grid_sincos
from mdm.nn.transformer import Transformer

POSITIONS = ("sincos", "learned", "learned_zero", "none")
SMALL = nn.initializers.normal(0.02)


class Vit(nn.Module):
  """Images to tokens: a class token if there is one, then the patches.

  ViT-B is the default; Tiny is 192 x 12 x 3 heads, S 384 x 12 x 6, L 1024 x 24 x 16,
  H 1280 x 32 x 16 with patches of 14.

  Parameters: `patch_embed`, `stack`, and where they are needed `cls_embedding`,
  `position_embedding` and `mask_embedding`.

  Attributes:
    patch: side of a patch in pixels.
    positions: "sincos" (fixed), "learned", "learned_zero" (learned from 0, so that the
      network starts as one without), or "none".
    has_cls: whether a class token comes first.
    has_norm: whether a last layer norm ends the stack.
    gather: how patches are chosen, see `patches.take_tokens`.
    mlp_ratio, drop_path, remat, scan: see `transformer.Stack`.
  """

  patch: int = 16
  width: int = 768
  depth: int = 12
  heads: int = 12
  mlp_ratio: float = 4.0
  positions: str = "sincos"
  has_cls: bool = True
  has_norm: bool = True
  drop_path: float = 0.0
  epsilon: float = 1e-6
  gather: str = "take"
  remat: str = "none"
  scan: bool = False
  kernel_init: Initializer = nn.initializers.xavier_uniform()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    image: Float[Array, "b y x c"],
    *,
    keep: Int[Array, "b k"] | None = None,
    mask: Bool[Array, "b n"] | None = None,
    visible: Bool[Array, "#b 1 #t s"] | None = None,
    context: Int[Array, "b s"] | None = None,
    train: bool = False,
  ) -> Float[Array, "b t d"]:
    """Encodes images.

    Args:
      keep: places of the patches to encode, in this order; None for all.
      mask: True for patches in whose place a learned token stands (with `keep` None).
      visible: which tokens may be seen by which; None for all.
      context: places of the tokens that are seen at all, the class token being the
        first if there is one; None for all. What is not seen costs no keys or values.

    Returns:
      Tokens of the k (or n) patches, after the class token if there is one.

    Raises:
      ValueError: patches do not tile the image, or an unknown setting.
    """
    check_choice("positions", self.positions, POSITIONS)
    patches = patchify(image, self.patch)  # b n q
    if keep is not None:
      patches = take_tokens(patches, keep, gather=self.gather)  # b k q
    x = self._linear("patch_embed")(patches)  # b k d
    if mask is not None:
      token = self._token("mask_embedding")
      x = jnp.where(mask[..., None], token.astype(x.dtype), x)
    if self.positions != "none":
      grid = grid_of(image.shape[1], image.shape[2], self.patch)
      table = self._places(*grid)[None]  # 1 n d
      x = x + (table if keep is None else take_tokens(table, keep)).astype(x.dtype)
    if self.has_cls:
      x = prepend(self._token("cls_embedding"), x)
    return self._stack()(x, visible, context, train=train)

  def _linear(self, name: str) -> Linear:
    return Linear(
      (self.width,),
      (None, "embed"),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name=name,
    )

  def _token(self, name: str) -> Float[Array, "1 1 d"]:
    return self.param(name, named(SMALL, None, None, "embed"), (1, 1, self.width))

  def _places(self, rows: int, columns: int) -> Float[Array, "n d"]:
    if self.positions == "sincos":
      return jnp.asarray(grid_sincos(rows, columns, self.width))
    start = SMALL if self.positions == "learned" else nn.initializers.zeros
    init = named(start, None, "embed")
    return self.param("position_embedding", init, (rows * columns, self.width))

  def _stack(self) -> Transformer:
    return Transformer(
      depth=self.depth,
      heads=self.heads,
      mlp_ratio=self.mlp_ratio,
      drop_path=self.drop_path,
      epsilon=self.epsilon,
      has_norm=self.has_norm,
      remat=self.remat,
      scan=self.scan,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="stack",
    )


class Decoder(nn.Module):
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


class MaskedDecoder(Decoder):
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


class TwinDecoder(Decoder):
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


def prepend(
  token: Float[Array, "1 1 d"], x: Float[Array, "b n d"]
) -> Float[Array, "b n+1 d"]:
  """The same token before each row."""
  first = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], 1, x.shape[2]))
  return jnp.concatenate([first, x], axis=1)
