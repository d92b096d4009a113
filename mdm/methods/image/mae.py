"""Masked autoencoder: from a quarter of an image's patches, the pixels of the others.

  x_v = patches that are kept; z = encoder(x_v); y = decoder(z, mask tokens)
  loss = mean over hidden patches of mean((y_i - target_i)^2)

The target is the patch's pixels, by default each patch with mean 0 and variance 1.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2022, section 3,
and the authors' code.
Differences:
  - masks are drawn per example, whatever the batch and the devices.
  - predictions for visible patches, which no loss reads, are not computed.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.scores import Split, count_kept, random_scores, split_by_score
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch, ImageMethod
from mdm.nn.patches import (
  grid_of,
  patch_moments,
  patchify,
  standardise,
  take_tokens,
  unpatchify,
)


class Reconstruction(NamedTuple):
  """An image, what was hidden of it, and what was put there.

  Attributes:
    image: as it was, in [0, 1].
    mask: True for hidden patches.
    filled: the image with predictions in place of hidden patches, in [0, 1].
    error: mean squared error of each patch against its target; 0 where visible.
  """

  image: Float[Array, "b y x c"]
  mask: Bool[Array, "b n"]
  filled: Float[Array, "b y x c"]
  error: Float[Array, "b n"]


class Mae(ImageMethod, kw_only=True):
  """A masked autoencoder, and the base of the methods that change one part of it.

  Streams: `mask`, `augment`, `dropout`.

  Attributes:
    encoder: `nn.vit.Vit`.
    decoder: `nn.patch_decoders.MaskedDecoder`.
    mask_ratio: share of patches that are hidden.
    rounding: how the number kept is rounded, see `masks.scores.count_kept`.
    norm_pixels: whether each patch's target has mean 0 and variance 1.
  """

  decoder: nn.Module
  mask_ratio: float = 0.75
  rounding: str = "mae"
  norm_pixels: bool = True

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss`: mean squared error of hidden patches."""
    image = self.prepare(batch, train=train)  # b y x c
    split = self.split(batch, image)
    predicted = self.predict_patches(image, split, train=train)  # b m q
    error = self.errors(predicted, self.targets(image, split.hide))  # b m
    return {"loss": mean_of(error, self.weights(batch, error))}

  def split(self, batch: Batch, image: Float[Array, "b y x c"]) -> Split:
    """Which patches are kept; exactly as many in every image."""
    rows, columns = self.grid(image)
    kept = count_kept(rows * columns, self.mask_ratio, rounding=self.rounding)
    return split_by_score(self.scores(batch, image), kept)

  def scores(self, batch: Batch, image: Float[Array, "b y x c"]) -> Float[Array, "b n"]:
    """A score of each patch, of which the lowest are kept: noise."""
    rows, columns = self.grid(image)
    return random_scores(self.keys(batch, "mask"), rows * columns)

  def predict_patches(
    self,
    image: Float[Array, "b y x c"],
    split: Split,
    *,
    of_all: bool = False,
    train: bool,
  ) -> Float[Array, "b m q"]:
    """What the decoder puts in place of hidden patches, or of all."""
    tokens = self.encoder(image, keep=split.keep, train=train)  # b t d
    features = self.encoder.patch**2 * image.shape[-1]
    return self.decoder(
      tokens, split, self.grid(image), features, of_all=of_all, train=train
    )

  def targets(
    self, image: Float[Array, "b y x c"], places: Int[Array, "b m"]
  ) -> Float[Array, "b m q"]:
    """What is to be predicted of the patches at the given places."""
    patches = take_tokens(patchify(image, self.encoder.patch), places)  # b m q
    return standardise(patches) if self.norm_pixels else patches

  def errors(
    self, predicted: Float[Array, "b m q"], target: Float[Array, "b m q"]
  ) -> Float[Array, "b m"]:
    """Mean squared error of each patch."""
    return jnp.square(predicted - target).mean(-1)

  def weights(self, batch: Batch, error: Float[Array, "b m"]) -> Float[Array, "b m"]:
    """How much each patch counts: as much as its example."""
    return jnp.broadcast_to(self.weight(batch)[:, None], error.shape)

  def grid(self, image: Float[Array, "b y x c"]) -> tuple[int, int]:
    """Rows and columns of patches.

    Raises:
      ValueError: patches do not tile the image.
    """
    _, rows, columns, _ = image.shape
    return grid_of(rows, columns, self.encoder.patch)

  def reconstruct(self, batch: Batch) -> Reconstruction:
    """Hides patches and fills them again, undoing the target's normalisation."""
    image = self.prepare(batch, train=False)
    split = self.split(batch, image)
    predicted = self.predict_patches(image, split, of_all=True, train=False)  # b n q
    patches = patchify(image, self.encoder.patch)  # b n q
    target = standardise(patches) if self.norm_pixels else patches
    error = jnp.where(split.mask, self.errors(predicted, target), 0.0)  # b n
    if self.norm_pixels:
      mean, variance = patch_moments(patches)
      predicted = predicted * jnp.sqrt(variance + 1e-6) + mean
    filled = jnp.where(split.mask[..., None], predicted, patches)  # b n q
    filled = unpatchify(filled, self.grid(image), image.shape[-1])
    return Reconstruction(
      self.to_pixels(image), split.mask, self.to_pixels(filled), error
    )
