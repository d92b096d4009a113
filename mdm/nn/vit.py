"""Vision transformers that embed just the patches they are given.

What is hidden costs nothing. A patch is known by its position's embedding alone, so the
order in which patches are held is free.

Source: *An Image is Worth 16x16 Words*, Dosovitskiy et al., 2021, section 3.1; *Masked
Autoencoders Are Scalable Vision Learners*, He et al., 2022, section 3, and its code.
Difference: the code embeds all patches and drops some; dropping first gives the same
tokens.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
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


def prepend(
  token: Float[Array, "1 1 d"], x: Float[Array, "b n d"]
) -> Float[Array, "b n+1 d"]:
  """The same token before each row."""
  first = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], 1, x.shape[2]))
  return jnp.concatenate([first, x], axis=1)
