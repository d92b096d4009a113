"""Multiple choice: which one of an image's hidden patches belongs at this place.

  h_i = mean over places of P(patch_i), each patch by itself
  u = A(u_0, h_i + e_i of the context)      attention pooling, the result at u_0
  v_l = u + e_l,  p_lk = softmax over k of v_l . h_k;  loss = mean over l of -log p_ll

l and k run over the hidden patches of one image: each is asked for at its own place,
and the others are its distractors. Afterwards P, with a fourth group of blocks, sees
whole images.

Source: *Selfie: Self-supervised Pretraining for Image Embedding*, Trinh et al., 2019,
section 3. No code was released; one public code for CIFAR-10 takes zeros for u_0 and
gives the context no positions (`query`, `context_pos`).
Differences:
  - logits are divided by the root of the width, so that an untrained network guesses
    (`scaled`); that code does not.
  - it crops images that are padded with black (`crop_pad`), which tells patches of the
    border from the others; by default nothing is padded here.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.masks.scores import Split, count_kept, random_scores, split_by_score
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch, ImageMethod, pool_tokens
from mdm.nn.layers import named
from mdm.nn.patches import grid_of, patchify, take_tokens

POSITIONS = ("factorised", "plain")
QUERIES = ("learned", "zeros")
SMALL = nn.initializers.normal(0.02)


class Selfie(ImageMethod, kw_only=True):
  """Picks the right patch for a place among others of the same image.

  Streams: `mask`, `augment`, `dropout`. Parameters: those of `encoder` and `pooling`,
  `query`, and `position_embedding` or `row_embedding` and `column_embedding`.

  Attributes:
    encoder: P, a patch [b p p c] to a map [b y x d], as `nn.resnet.ResNet` cut after
      three groups.
    pooling: A, tokens to tokens of the same width, as `nn.transformer.Transformer`.
    patch: side of a patch in pixels.
    mask_ratio: share of the patches that are hidden and asked for.
    positions: "factorised" (a vector for each row plus one for each column) or
      "plain" (one for each place).
    context_pos: whether A is told where its patches were.
    query: u_0, "learned" or "zeros".
    scaled: whether logits are divided by the root of the width.
  """

  pooling: nn.Module
  patch: int = 32
  mask_ratio: float = 0.25
  positions: str = "factorised"
  context_pos: bool = True
  query: str = "learned"
  scaled: bool = True

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats, and the share of places whose own patch comes first."""
    image = self.prepare(batch, train=train)  # b y x c
    split = self.split(batch, image)
    logits = self.match(image, split, train=train)  # b l k
    nats = -jnp.diagonal(jax.nn.log_softmax(logits), axis1=1, axis2=2)  # b l
    found = logits.argmax(-1) == jnp.arange(logits.shape[1])  # b l
    weight = jnp.broadcast_to(self.weight(batch)[:, None], nats.shape)
    return {
      "loss": mean_of(nats, weight),
      "accuracy": mean_of(found.astype(jnp.float32), weight),
    }

  def split(self, batch: Batch, image: Float[Array, "b y x c"]) -> Split:
    """Which patches are the context (`keep`) and which are asked for (`hide`).

    Raises:
      ValueError: patches do not tile the image, or fewer than two are hidden.
    """
    rows, columns = grid_of(image.shape[1], image.shape[2], self.patch)
    n = rows * columns
    kept = count_kept(n, self.mask_ratio, rounding="videomae")
    if n - kept < 2:
      raise ValueError(
        f"method.mask_ratio = {self.mask_ratio} hides 1 of {n} patches, which leaves "
        "no distractor to tell it from; hide at least 2."
      )
    return split_by_score(random_scores(self.keys(batch, "mask"), n), kept)

  @nn.compact
  def match(
    self, image: Float[Array, "b y x c"], split: Split, *, train: bool
  ) -> Float[Array, "b l k"]:
    """How well each hidden patch k fits at the place of each hidden patch l."""
    self._check()
    h = self.embed(image, train=train)  # b n d
    grid = grid_of(image.shape[1], image.shape[2], self.patch)
    places = self._places(*grid, h.shape[-1])[None]  # 1 n d
    context = take_tokens(h, split.keep)  # b m d
    if self.context_pos:
      context = context + take_tokens(places, split.keep)
    tokens = jnp.concatenate([self._query(context), context], axis=1)
    u = self.pooling(tokens, train=train)[:, :1].astype(jnp.float32)  # b 1 d
    v = u + take_tokens(places, split.hide)  # b l d
    logits = jnp.einsum("bld,bkd->blk", v, take_tokens(h, split.hide))
    return logits / h.shape[-1] ** 0.5 if self.scaled else logits

  def embed(
    self, image: Float[Array, "b y x c"], *, train: bool
  ) -> Float[Array, "b n d"]:
    """Features of every patch, as if it were an image of its own."""
    patches = patchify(image, self.patch)  # b n q
    shape = (-1, self.patch, self.patch, image.shape[-1])
    maps = self.encoder(patches.reshape(shape), train=train)  # bn y x d
    features = pool_tokens(maps, "mean", has_cls=False)
    return features.reshape(*patches.shape[:2], -1).astype(jnp.float32)

  def _places(self, rows: int, columns: int, width: int) -> Float[Array, "n d"]:
    init = named(SMALL, None, "embed")
    if self.positions == "plain":
      return self.param("position_embedding", init, (rows * columns, width))
    row = self.param("row_embedding", init, (rows, width))
    column = self.param("column_embedding", init, (columns, width))
    return (row[:, None] + column).reshape(-1, width)

  def _query(self, context: Float[Array, "b m d"]) -> Float[Array, "b 1 d"]:
    shape = (1, 1, context.shape[-1])
    first = jnp.zeros(shape)
    if self.query == "learned":
      first = self.param("query", named(SMALL, None, None, "embed"), shape)
    return jnp.broadcast_to(first, (context.shape[0], 1, shape[-1]))

  def _check(self) -> None:
    check_choice("method.positions", self.positions, POSITIONS)
    check_choice("method.query", self.query, QUERIES)
