"""ColorMAE: a masked autoencoder whose masks are windows of coloured noise.

  scores = -window of filtered noise;  the k strongest values stay visible

To MAE it changes the scores alone: no parameter, no computation that counts. Red noise
hides large blobs and leaves the hardest task, blue spreads what is visible and leaves
the easiest; green, between the two, is the paper's.

Source: *ColorMAE: Exploring data-independent masking strategies in Masked
AutoEncoders*, Hinojosa et al., 2024, section 3, and its released code.
Differences: those of `masks/noise.py`, which makes the patterns.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.masks.noise import color_at, color_patterns, noise_windows
from mdm.methods.image.base import Batch
from mdm.methods.image.mae import Mae

VISIBLE = ("top", "bottom")


class ColorMae(Mae, kw_only=True):
  """A masked autoencoder that is asked in colours.

  Streams: `mask`, `augment`, `dropout`.

  Attributes:
    colors: of the noise, see `masks.noise.SIGMAS`; several follow each other.
    changes: the epochs from which each colour but the first is used.
    sigmas: widths of the filters in patches, for all colours; None for their own.
    visible: "top", the strongest values stay, or "bottom".
    patterns: how many are generated.
    size: rows and columns of each; at least those of the patch grid.
    seed: of the noise that is filtered.
  """

  colors: Sequence[str] = ("green",)
  changes: Sequence[float | int] = ()
  sigmas: Sequence[float | int] | None = None
  visible: str = "top"
  patterns: int = 512
  size: int = 64
  seed: int = 0

  def scores(self, batch: Batch, image: Float[Array, "b y x c"]) -> Float[Array, "b n"]:
    """Windows of noise: the lowest stay. An evaluation takes the first colour.

    Raises:
      ValueError: an unknown colour or `visible`, widths that make no filter, as many
        `changes` as colours or more, or patterns smaller than the grid.
    """
    check_choice("visible", self.visible, VISIBLE)
    if len(self.changes) != len(self.colors) - 1:
      raise ValueError(
        f"changes = {tuple(self.changes)} for colors = {tuple(self.colors)}; give one "
        "epoch for each colour but the first."
      )
    sigmas = None if self.sigmas is None else tuple(self.sigmas)
    noise = np.stack(
      [
        color_patterns(
          color, seed=self.seed, count=self.patterns, size=self.size, sigmas=sigmas
        )
        for color in self.colors
      ]
    )  # m patterns size size
    windows = noise_windows(
      self.keys(batch, "mask"),
      noise,
      *self.grid(image),
      color=color_at(jnp.asarray(batch.get("epoch", 0.0)), self.changes),
    )  # b n
    return -windows if self.visible == "top" else windows
