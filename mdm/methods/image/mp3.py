"""Position prediction: a network without positions says where each patch came from.

  C = a random set of K = L - int(eta L) patches, the context
  every layer: queries of all L tokens, keys and values of the tokens of C only, at
    their states in that layer
  p_i = softmax(W LN(z_i));  loss = mean over tokens of -sum_j w_ij log p_ij

where w_ij is 1 for j = i, or with smoothing proportional to exp(-|i - j|^2 / sigma^2)
over places of the grid, with a sigma that falls to 0. Context tokens see context tokens
alone, so what is hidden from the others changes nothing but its own row.

Source: *Position Prediction as an Effective Pretraining Strategy*, Zhai et al., 2022,
section 3. No code was released; two others' disagree with it and with each other.
Differences:
  - the norm before the last map is the encoder's own last norm.
  - smoothing is off unless asked for, and its sigma falls linearly: our reading.
  - `jitter` and `color_drop` are ours: lenses scatter colours differently far from the
    middle, and grey patches cannot tell.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from mdm.masks.choices import check_choice
from mdm.masks.keys import fold_keys, uniform_rows
from mdm.masks.scores import Split, count_kept, random_scores, split_by_score
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch, ImageMethod
from mdm.nn.augment import color_jitter
from mdm.nn.layers import Linear
from mdm.nn.patches import grid_of

CONTEXTS = ("gather", "mask")
LOSSES = ("all", "hidden")
NARROWEST = 1e-2  # a sigma this far below the distance of neighbours is one-hot


class Mp3(ImageMethod, kw_only=True):
  """Predicts the place of every patch from patches without places.

  Streams: `mask`, `augment`, `dropout`.

  Attributes:
    encoder: `nn.vit.Vit` with positions="none" and has_cls=False.
    mask_ratio: eta, share of the patches that no other patch sees; 0 for full
      attention.
    context: "gather" computes keys and values of the context alone; "mask" computes
      all and hides the others: the same numbers at a higher cost.
    loss_on: "all" tokens, or the "hidden" ones, which are not in the context.
    smoothing: sigma at the start of the training, in patches; 0 for none.
    jitter: strength of the change of brightness, contrast and saturation in training.
    color_drop: share of the patches that turn grey in training.
  """

  mask_ratio: float = 0.75
  context: str = "gather"
  loss_on: str = "all"
  smoothing: float = 0.0
  jitter: float = 0.0
  color_drop: float = 0.0

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats, and accuracies of tokens in the context and of the others."""
    self._check()
    image = self.prepare(batch, train=train)  # b y x c
    split = self.split(batch, image)
    logits = self.locate(image, split, train=train)  # b n n
    sigma = self.smoothing * (1.0 - jnp.asarray(batch.get("progress", 1.0)))
    target = place_targets(*self.grid(image), sigma)  # n n
    nats = -jnp.einsum("nm,bnm->bn", target, jax.nn.log_softmax(logits))
    found = logits.argmax(-1) == jnp.arange(logits.shape[1])  # b n
    is_right = found.astype(jnp.float32)
    weight = jnp.broadcast_to(self.weight(batch)[:, None], nats.shape)
    counted = split.mask if self.loss_on == "hidden" else jnp.ones_like(split.mask)
    return {
      "loss": mean_of(nats, weight * counted),
      "accuracy/context": mean_of(is_right, weight * ~split.mask),
      "accuracy/hidden": mean_of(is_right, weight * split.mask),
    }

  def split(self, batch: Batch, image: Float[Array, "b y x c"]) -> Split:
    """Which patches are the context (`keep`); exactly as many in every image."""
    rows, columns = self.grid(image)
    n = rows * columns
    kept = count_kept(n, self.mask_ratio, rounding="videomae") if self.mask_ratio else n
    return split_by_score(random_scores(self.keys(batch, "mask"), n), kept)

  @nn.compact
  def locate(
    self, image: Float[Array, "b y x c"], split: Split, *, train: bool
  ) -> Float[Array, "b n n"]:
    """Logits of the places of every patch (last axis), patches in raster order."""
    if self.context == "gather":
      tokens = self.encoder(image, context=split.keep, train=train)  # b n d
    else:
      tokens = self.encoder(image, visible=~split.mask[:, None, None], train=train)
    head = Linear(
      (tokens.shape[1],),
      ("embed", "vocab"),
      kernel_init=nn.initializers.normal(0.02),
      name="head",
    )
    return head(tokens.astype(jnp.float32))  # b n n

  def augment(
    self, keys: Key[Array, "b"], image: Float[Array, "b y x c"]
  ) -> Float[Array, "b y x c"]:
    """Crops and flips, then other colours, and none in some patches."""
    image = super().augment(keys, image)
    colors, drops = fold_keys(keys, 1), fold_keys(keys, 2)
    if amount := self.jitter:
      image = color_jitter(
        colors, image, brightness=amount, contrast=amount, saturation=amount
      )
    if not self.color_drop:
      return image
    rows, columns = self.grid(image)
    drawn = uniform_rows(drops, rows * columns)
    is_grey = (drawn < self.color_drop).reshape(-1, rows, columns)  # b rows columns
    return jnp.where(self._spread(is_grey), image.mean(-1, keepdims=True), image)

  def grid(self, image: Float[Array, "b y x c"]) -> tuple[int, int]:
    """Rows and columns of patches.

    Raises:
      ValueError: patches do not tile the image.
    """
    return grid_of(image.shape[1], image.shape[2], self.encoder.patch)

  def _spread(self, cells: Bool[Array, "b rows columns"]) -> Bool[Array, "b y x 1"]:
    """Each patch's value at all of its pixels."""
    side = self.encoder.patch
    return cells.repeat(side, axis=1).repeat(side, axis=2)[..., None]

  def _check(self) -> None:
    """Raises ValueError for settings that tell places, or that are none."""
    check_choice("method.context", self.context, CONTEXTS)
    check_choice("method.loss_on", self.loss_on, LOSSES)
    if self.encoder.positions != "none" or self.encoder.has_cls:
      raise ValueError(
        f"model.encoder has positions = {self.encoder.positions!r} and has_cls = "
        f"{self.encoder.has_cls}, but places are to be predicted from patches without "
        "places; set positions='none' and has_cls=False."
      )
    if self.crop_pad:
      raise ValueError(
        f"method.crop_pad = {self.crop_pad} puts a border around images that tells "
        "where a patch was; set 0 and crop by method.crop_area."
      )
    if self.loss_on == "hidden" and not self.mask_ratio:
      raise ValueError(
        "method.loss_on = 'hidden' has no tokens where method.mask_ratio = 0; set "
        "loss_on='all'."
      )


def place_targets(
  rows: int, columns: int, sigma: float | Float[Array, ""]
) -> Float[Array, "n n"]:
  """Weights of the places (last axis) that count as right for each patch.

  w_ij = exp(-|i - j|^2 / sigma^2) / sum_j exp(...), distances in patches; one-hot for
  sigma near 0. May be traced.
  """
  row, column = jnp.divmod(jnp.arange(rows * columns), columns)
  square = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2  # n n
  width = jnp.maximum(jnp.asarray(sigma, jnp.float32), NARROWEST)
  return jax.nn.softmax(-square / width**2, axis=-1)  # n n
