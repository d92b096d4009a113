"""Mixing the images of a batch with soft labels, and erasing parts of them.

Both mixes put two images of a batch together by a weight of each pixel, the same for
the whole batch; the label gets the mean weight:

  image  = w image + (1 - w) other         other: the batch in reverse order
  target = mean(w) target + (1 - mean(w)) other's target

  mixup   w = lambda everywhere
  cutmix  w = 0 in a box of area 1 - lambda around a random place, clipped; else 1

with lambda ~ Beta(alpha, alpha).

Source: *mixup: Beyond Empirical Risk Minimization*, Zhang et al., 2017; *CutMix*, Yun
et al., 2019; *Random Erasing Data Augmentation*, Zhong et al., 2017. One of the two
mixes per batch, the batch's reverse and lambda after clipping as in the recipe of MAE.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mdm.nn.augment import Bounds, Images, draw_boxes


def soft_labels(
  label: Int[Array, "b"], num_classes: int, *, smoothing: float = 0.0
) -> Float[Array, "b m"]:
  """One-hot rows with `smoothing` of the mass spread over all classes."""
  hot = jax.nn.one_hot(label, num_classes)
  return hot * (1 - smoothing) + smoothing / num_classes


def mix_batch(
  key: Key[Array, ""],
  image: Images,
  target: Float[Array, "b m"],
  *,
  mixup: float = 0.8,
  cutmix: float = 1.0,
  switch: float = 0.5,
  rate: float = 1.0,
) -> tuple[Images, Float[Array, "b m"]]:
  """Mixes each image and its soft label with those of another of the batch.

  Args:
    mixup: alpha of mixup; 0 leaves cutmix alone.
    cutmix: alpha of cutmix; 0 leaves mixup alone, both 0 change nothing.
    switch: probability of cutmix where both are on.
    rate: probability that a batch is mixed at all.

  Raises:
    ValueError: a negative alpha or a probability outside [0, 1].
  """
  _check(mixup, cutmix, switch, rate)
  if mixup == cutmix == 0:
    return image, target
  mix_key, cut_key, which_key, rate_key = jax.random.split(key, 4)
  shape = (image.shape[1], image.shape[2])
  whole = jnp.ones(shape)
  mixed = whole * jax.random.beta(mix_key, mixup, mixup) if mixup else whole
  cut = cut_weights(cut_key, shape, cutmix) if cutmix else whole
  share = switch if mixup and cutmix else float(cutmix > 0)
  w = jnp.where(jax.random.uniform(which_key) < share, cut, mixed)
  w = jnp.where(jax.random.uniform(rate_key) < rate, w, whole)  # y x
  lam, w = w.mean(), w[:, :, None]
  return (
    w * image + (1 - w) * image[::-1],
    lam * target + (1 - lam) * target[::-1],
  )


def cut_weights(
  key: Key[Array, ""], shape: tuple[int, int], alpha: float
) -> Float[Array, "y x"]:
  """0 in a box whose area is 1 - lambda before it is clipped to the image, else 1."""
  beta_key, place_key = jax.random.split(key)
  side = jnp.sqrt(1 - jax.random.beta(beta_key, alpha, alpha))
  inside = []
  for length, draw in zip(shape, jax.random.uniform(place_key, (2,)), strict=True):
    half = (side * length).astype(jnp.int32) // 2
    middle = (draw * length).astype(jnp.int32)
    place = jnp.arange(length)
    inside.append((place >= middle - half) & (place < middle + half))
  return 1.0 - (inside[0][:, None] & inside[1][None, :])


def random_erasing(
  keys: Key[Array, "b"],
  image: Images,
  *,
  rate: float = 0.25,
  scale: Bounds = (0.02, 1 / 3),
  ratio: Bounds = (0.3, 10 / 3),
) -> Images:
  """Replaces a box of an image by normal noise; the image is normalised already.

  Args:
    rate: probability that a part of an image is erased.
    scale: bounds of the box's share of the area.
    ratio: bounds of its width over its height.
  """
  if not 0 <= rate <= 1:
    raise ValueError(f"rate = {rate} lies outside [0, 1]; write 0.25 for 25%.")
  box_keys, noise_keys, rate_keys = jnp.moveaxis(
    jax.vmap(lambda k: jax.random.split(k, 3))(keys), 1, 0
  )
  rows, columns = image.shape[1:3]
  boxes = draw_boxes(box_keys, (rows, columns), scale, ratio=ratio)
  y, x = jnp.arange(rows), jnp.arange(columns)
  top, left = boxes.top[:, None], boxes.left[:, None]
  in_rows = (y >= top) & (y < top + boxes.rows[:, None])  # b y
  in_columns = (x >= left) & (x < left + boxes.columns[:, None])  # b x
  erased = jax.vmap(jax.random.uniform)(rate_keys) < rate  # b
  hidden = erased[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
  noise = jax.vmap(lambda k: jax.random.normal(k, image.shape[1:]))(noise_keys)
  return jnp.where(hidden[..., None], noise, image)


def _check(mixup: float, cutmix: float, switch: float, rate: float) -> None:
  """Raises ValueError for settings that make no sense."""
  for name, value in (("mixup", mixup), ("cutmix", cutmix)):
    if value < 0:
      raise ValueError(f"{name} = {value} is negative; write 0 to leave it out.")
  for name, value in (("switch", switch), ("rate", rate)):
    if not 0 <= value <= 1:
      raise ValueError(f"{name} = {value} lies outside [0, 1]; write 0.5 for half.")
