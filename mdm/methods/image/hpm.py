"""HPM: a masked autoencoder that learns where it fails, and is asked there.

  y, r = decoders(encoder(x_visible));  l_i = mean((y_i - target_i)^2), i hidden
  loss = mean_i l_i + mean over pairs l_j > l_i of -log sigmoid(r_j - r_i)

A second decoder orders the hidden patches by their loss. A teacher, the moving average
of this network, predicts the losses of all patches of the whole image; of the patches
to hide, a share that grows to a half by the training's end are those it says are
hardest, and the others are drawn from the rest.

Source: *Hard Patches Mining for Masked Image Modeling*, Wang et al., 2023, section 3,
and the authors' code.
Differences:
  - the code counts each pair twice, once in either order, which leaves the mean as it
    is, and adds 1e-6 within logarithms of sigmoids; here they are computed exactly.
  - the reconstructing decoder of the teacher is not kept: nothing asks it.
  - evaluations hide at random, as MAE does, so that losses can be compared.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.masks.hard import count_hard, hard_scores, hard_share
from mdm.masks.scores import Split, count_kept, split_by_mask
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch
from mdm.methods.image.mae import Mae
from mdm.nn.patches import standardise

COMPARISONS = ("relative", "absolute")
UNTAUGHT = ("decoder/stack/", "decoder/head/")


class Predictions(NamedTuple):
  """What the two decoders say of patches."""

  patches: Float[Array, "b m q"]
  losses: Float[Array, "b m"]


class Hpm(Mae, kw_only=True):
  """A masked autoencoder guided to what is hard by a teacher of its own making.

  Streams: `mask`, `augment`, `dropout`.

  Attributes:
    decoder: `nn.patch_decoders.TwinDecoder`.
    norm_pixels: the released scripts leave it off.
    comparison: "relative", the order of predicted losses is learned, or "absolute",
      the losses themselves, of each image with mean 0 and variance 1.
    hard: the share alpha in the last epoch; 0 hides at random.
    decays: the teacher's in the first epoch and from `settled` on; linear between.
    settled: epochs.
  """

  decoder: nn.Module
  norm_pixels: bool = False
  comparison: str = "relative"
  hard: float = 0.5
  decays: tuple[float, float] = (0.999, 0.9999)
  settled: int = 100

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss/patches` and `loss/order`; and how many pairs are ordered rightly."""
    check_choice("comparison", self.comparison, COMPARISONS)
    image = self.prepare(batch, train=train)  # b y x c
    split = self.split(batch, image)
    predicted = self.predict(image, split, train=train)
    error = self.errors(predicted.patches, self.targets(image, split.hide))  # b m
    weights = self.weights(batch, error)
    compare = order_loss if self.comparison == "relative" else value_loss
    return {
      "loss/patches": mean_of(error, weights),
      "loss/order": compare(predicted.losses, error, weights),
      "order/right": rightly_ordered(predicted.losses, error, weights),
    }

  def scores(self, batch: Batch, image: Float[Array, "b y x c"]) -> Float[Array, "b n"]:
    """Above all others for the patches that the teacher says are hardest."""
    if "epoch" not in batch:
      return super().scores(batch, image)
    n = self.grid(image)[0] * self.grid(image)[1]
    hidden = n - count_kept(n, self.mask_ratio, rounding=self.rounding)
    epochs = jnp.ceil(batch["epochs"])
    alpha = hard_share(jnp.asarray(batch["epoch"]), epochs, end=self.hard)
    difficulty = self.by_teacher(self.predict_losses, image)  # b n
    return hard_scores(self.keys(batch, "mask"), difficulty, count_hard(hidden, alpha))

  def predict_losses(self, image: Float[Array, "b y x c"]) -> Float[Array, "b n"]:
    """Losses expected of all patches, in raster order, from the image as a whole."""
    rows, columns = self.grid(image)
    nothing = jnp.zeros((len(image), rows * columns), bool)
    split = split_by_mask(nothing, rows * columns)
    return self.predict(image, split, of_all=True, train=False).losses

  def predict_patches(
    self,
    image: Float[Array, "b y x c"],
    split: Split,
    *,
    of_all: bool = False,
    train: bool,
  ) -> Float[Array, "b m q"]:
    """What the first decoder puts in place of hidden patches, or of all."""
    return self.predict(image, split, of_all=of_all, train=train).patches

  def predict(
    self,
    image: Float[Array, "b y x c"],
    split: Split,
    *,
    of_all: bool = False,
    train: bool,
  ) -> Predictions:
    """What both decoders say of hidden patches, or of all."""
    tokens = self.encoder(image, keep=split.keep, train=train)  # b t d
    features = self.encoder.patch**2 * image.shape[-1]
    return Predictions(
      *self.decoder(
        tokens, split, self.grid(image), features, of_all=of_all, train=train
      )
    )

  def teacher_of(self, path: str) -> bool:
    """All that predicts losses."""
    return not path.startswith(UNTAUGHT)

  def teacher_decay(self, epoch: Float[Array, ""]) -> Float[Array, ""]:
    """Grows linearly from epoch to epoch, then stays."""
    first, last = self.decays
    return first + (last - first) * jnp.minimum(jnp.floor(epoch) / self.settled, 1.0)


def order_loss(
  predicted: Float[Array, "b m"],
  error: Float[Array, "b m"],
  weights: Float[Array, "b m"],
) -> Mean:
  """Mean of -log sigmoid(r_j - r_i) over the pairs of an image with l_j > l_i.

  No gradient flows into the losses l. Equal ones make no pair.
  """
  is_harder = _pairs(error) > 0  # b m m
  rise = _pairs(predicted)
  pairs = is_harder * weights[:, :, None]
  return mean_of(jax.nn.softplus(-rise), pairs)


def value_loss(
  predicted: Float[Array, "b m"],
  error: Float[Array, "b m"],
  weights: Float[Array, "b m"],
) -> Mean:
  """Mean squared error of losses, each image's with mean 0 and variance 1.

  No gradient flows into the losses.
  """
  target = standardise(jax.lax.stop_gradient(error)[:, None])[:, 0]
  return mean_of(jnp.square(predicted - target), weights)


def rightly_ordered(
  predicted: Float[Array, "b m"],
  error: Float[Array, "b m"],
  weights: Float[Array, "b m"],
) -> Mean:
  """The share of pairs with l_j > l_i for which r_j > r_i; a half by chance."""
  pairs = (_pairs(error) > 0) * weights[:, :, None]
  return mean_of((_pairs(predicted) > 0).astype(jnp.float32), pairs)


def _pairs(x: Float[Array, "b m"]) -> Float[Array, "b m m"]:
  """x_j - x_i at [i, j]."""
  return x[:, None, :] - x[:, :, None]
