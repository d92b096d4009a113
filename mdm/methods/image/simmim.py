"""SimMIM: all patches are encoded, a token in place of the hidden, each read linearly.

  x_i = m where patch i is hidden, else embed(patch_i);  y = W encoder(x) + b
  loss = mean over hidden pixels of |y - pixel|

Patches are hidden in square cells. To MAE it changes the mask, what the encoder sees,
and the error.

Source: *SimMIM: A Simple Framework for Masked Image Modeling*, Xie et al., 2022,
section 3, and the authors' code.
Differences:
  - the code adds 1e-5 to the number of hidden pixels, less than float32 can tell.
  - its vision transformer has biases for relative positions, factors on its branches,
    and no bias on keys; here any encoder serves that takes `mask`, and `nn.vit.Vit` is
    MAE's, first weights included.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.masks.cells import mask_cells
from mdm.masks.scores import Split, count_kept, split_by_mask
from mdm.methods.image.base import Batch
from mdm.methods.image.mae import Mae


class SimMim(Mae, kw_only=True):
  """A masked autoencoder of pixels with the lightest of decoders.

  Streams: `mask`, `augment`, `dropout`.

  Attributes:
    encoder: `nn.vit.Vit`.
    decoder: `nn.patch_decoders.LinearDecoder`.
    mask_ratio: share of cells that are hidden.
    cell: side of a cell in patches; published 32 pixels, 2 patches of 16.
  """

  mask_ratio: float = 0.6
  rounding: str = "simmim"
  norm_pixels: bool = False
  crop_area: Sequence[float] = (0.67, 1.0)
  cell: int = 2

  def split(self, batch: Batch, image: Float[Array, "b y x c"]) -> Split:
    """Which patches are hidden: whole cells, exactly as many in every image."""
    rows, columns = self.grid(image)
    area = self.cell**2
    mask = mask_cells(
      self.keys(batch, "mask"),
      rows,
      columns,
      self.mask_ratio,
      cell=self.cell,
      rounding=self.rounding,
    )
    cells = rows * columns // area
    kept = count_kept(cells, self.mask_ratio, rounding=self.rounding)
    return split_by_mask(mask, kept * area)

  def predict_patches(
    self,
    image: Float[Array, "b y x c"],
    split: Split,
    *,
    of_all: bool = False,
    train: bool,
  ) -> Float[Array, "b m q"]:
    """What is read from the tokens of hidden patches, or of all."""
    tokens = self.encoder(image, mask=split.mask, train=train)  # b t d
    features = self.encoder.patch**2 * image.shape[-1]
    return self.decoder(
      tokens, split, self.grid(image), features, of_all=of_all, train=train
    )

  def errors(
    self, predicted: Float[Array, "b m q"], target: Float[Array, "b m q"]
  ) -> Float[Array, "b m"]:
    """Mean absolute error of each patch."""
    return jnp.abs(predicted - target).mean(-1)
