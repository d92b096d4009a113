"""SpecAugment: bands of features and stretches of time that are set to 0 in training.

Features come normalised, so 0 is their mean. Each of `bands` bands is w of the c
features wide, w uniform on 0 .. `band_width`, and begins at a whole number uniform on
0 .. c - w; each of `stretches` stretches likewise on the valid frames of its row, at
most floor(`stretch_share` of them) long. What happens to a row depends on its key, its
length and c alone, not on padding or on other rows.

Source: *SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition*, Park et al., 2019, section 2; *SpecAugment on Large Scale Datasets*, Park
et al., 2019, section 2.1 (lengths in shares of the utterance).
Differences: no time warping. The defaults are those of Google's later recipes for
LibriSpeech, whose code cuts a real number below the greatest width and so never draws
it; ours does.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.keys import split_keys, uniform_rows

WIDTH_OF_80 = 27


def spec_augment(
  keys: Key[Array, "b"],
  features: Float[Array, "b f c"],
  valid: Bool[Array, "b f"],
  *,
  bands: int = 2,
  band_width: int | None = None,
  stretches: int = 10,
  stretch_share: float = 0.05,
  stretch_width: int | None = None,
) -> Float[Array, "b f c"]:
  """Features with what `draw_spec_masks` hides set to 0; for training only."""
  mask = draw_spec_masks(
    keys,
    valid,
    features.shape[2],
    bands=bands,
    band_width=band_width,
    stretches=stretches,
    stretch_share=stretch_share,
    stretch_width=stretch_width,
  )
  return jnp.where(mask, 0, features)


def draw_spec_masks(
  keys: Key[Array, "b"],
  valid: Bool[Array, "b f"],
  bins: int,
  *,
  bands: int = 2,
  band_width: int | None = None,
  stretches: int = 10,
  stretch_share: float = 0.05,
  stretch_width: int | None = None,
) -> Bool[Array, "b f c"]:
  """What SpecAugment hides of `bins` features: True within a band or a stretch.

  Args:
    keys: one per example, such as those of the stream "augment".
    valid: real frames, each row's first ones. No other is hidden.
    bands: bands of features to a row; 0 for none.
    band_width: the most features in a band; None is 27 of 80 and as many of other
      numbers, rounded down (13 of 40).
    stretches: stretches of time to a row; 0 for none.
    stretch_share: the most of the valid frames in a stretch, rounded down.
    stretch_width: the most frames in a stretch, whatever its share; None for no limit.

  Raises:
    ValueError: a negative number, a band wider than the features, or a share outside
      [0, 1].
  """
  most = WIDTH_OF_80 * bins // 80 if band_width is None else band_width
  if min(bands, stretches, most, stretch_width or 0) < 0 or most > bins:
    raise ValueError(
      f"bands = {bands} of at most {most} of {bins} features and stretches = "
      f"{stretches} of at most {stretch_width} frames: no number may be negative, and "
      "no band wider than the features."
    )
  if not 0 <= stretch_share <= 1:
    raise ValueError(
      f"stretch_share = {stretch_share} lies outside [0, 1]; write 0.05 for 5 %."
    )
  band_keys, stretch_keys = split_keys(keys, 2)
  length = valid.sum(axis=1)
  # 1e-4 of a frame more: 0.53 of 100 frames are 53, in float32 a little less.
  longest = jnp.floor(length * stretch_share + 1e-4).astype(jnp.int32)
  if stretch_width is not None:
    longest = jnp.minimum(longest, stretch_width)
  widths = jnp.full_like(length, most)
  hides = draw_runs(band_keys, jnp.full_like(length, bins), widths, bands, bins)
  hides_time = draw_runs(stretch_keys, length, longest, stretches, valid.shape[1])
  return (hides[:, None, :] | hides_time[:, :, None]) & valid[:, :, None]


def draw_runs(
  keys: Key[Array, "b"],
  length: Int[Array, "b"],
  longest: Int[Array, "b"],
  count: int,
  size: int,
) -> Bool[Array, "b n"]:
  """The union of `count` runs within the first `length` of `size` places of each row.

  A run's width is uniform on 0 .. `longest`, its begin on 0 .. `length` - width.
  """
  draws = uniform_rows(keys, 2 * count)  # b 2 * count
  width = _whole(draws[:, :count], longest[:, None])  # b count
  begin = _whole(draws[:, count:], length[:, None] - width)
  places = jnp.arange(size)[:, None]  # n 1
  inside = (places >= begin[:, None]) & (places < (begin + width)[:, None])  # b n count
  return inside.any(axis=2)


def _whole(draw: Float[Array, "b m"], most: Int[Array, "b _"]) -> Int[Array, "b m"]:
  """A whole number from 0 to `most`, each as likely."""
  return jnp.minimum((draw * (most + 1)).astype(jnp.int32), most)
