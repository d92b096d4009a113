"""Images put together by methods that learn where patches belong, to be looked at.

Position prediction (MP3) names a place for every patch; at each place then stands the
patch that is surest of it. Selfie chooses a hidden patch for each hidden place.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from PIL import Image

from mdm.evaluation.image_plots import HIDDEN, draw_table
from mdm.evaluation.reconstruction_plots import spread, to_bytes
from mdm.masks.scores import Split
from mdm.methods.base import Method
from mdm.methods.image.mp3 import Mp3
from mdm.methods.image.selfie import Selfie
from mdm.nn.patches import grid_of, patchify, unpatchify
from mdm.training.keys import stream_keys

TITLES = ("image", "context", "put together", "placed right")
Batch = Mapping[str, Any]


class Puzzle(NamedTuple):
  """Images in [0, 1], and how their patches were placed.

  Attributes:
    image: as they are.
    mask: patches that are no context for the others.
    made: with the patch at each place that was chosen for it.
    right: places whose own patch it is.
  """

  image: Float[Array, "b y x c"]
  mask: Bool[Array, "b n"]
  made: Float[Array, "b y x c"]
  right: Bool[Array, "b n"]


Puzzler = Callable[[Any, Batch], Puzzle]


def has_puzzles(method: Method) -> bool:
  """Whether a method learns where patches belong."""
  return isinstance(method, Mp3 | Selfie)


def make_puzzler(method: Method, seed: int = 0) -> Puzzler:
  """A compiled function from variables and images to what is put together of them.

  Args:
    method: Mp3 or Selfie.
    seed: of what is hidden; an image's mask depends on it and on its `index`.

  Raises:
    ValueError: another method.
  """
  if not isinstance(method, Mp3 | Selfie):
    raise ValueError(
      f"{type(method).__name__} places no patches; load a run of image.mp3 or "
      "image.selfie."
    )

  def play(module: Any, batch: Batch) -> Puzzle:
    """One batch, inside of the method."""
    image = module.prepare(batch, train=False)  # b y x c
    split = module.split(batch, image)
    if isinstance(module, Mp3):
      side = module.encoder.patch
      chosen = choose_placed(module.locate(image, split, train=False))  # b n
    else:
      side = module.patch
      chosen = choose_matched(module.match(image, split, train=False), split)  # b n
    pixels = module.to_pixels(image)
    patches = jnp.take_along_axis(patchify(pixels, side), chosen[..., None], axis=1)
    grid = grid_of(image.shape[1], image.shape[2], side)
    made = unpatchify(patches, grid, image.shape[3])
    return Puzzle(pixels, split.mask, made, chosen == jnp.arange(chosen.shape[1]))

  @jax.jit
  def arrange(variables: Any, batch: Batch) -> Puzzle:
    """One batch."""
    keys = stream_keys(seed, 0)
    found = method.apply(variables, batch, rngs=keys, method=play)
    return cast(Puzzle, found)

  return lambda variables, batch: jax.device_get(arrange(variables, batch))


def choose_placed(logits: Float[Array, "b n n"]) -> Int[Array, "b n"]:
  """For each place the patch that gives it the greatest probability.

  Args:
    logits: of the places (last axis) of every patch.
  """
  return jax.nn.softmax(logits, axis=-1).argmax(axis=1)


def choose_matched(logits: Float[Array, "b l k"], split: Split) -> Int[Array, "b n"]:
  """For each hidden place the hidden patch that fits best; the others stay.

  Args:
    logits: how well each hidden patch k fits at each hidden place l.
    split: what is hidden.
  """
  taken = jnp.take_along_axis(split.hide, logits.argmax(axis=-1), axis=1)  # b l
  places = jnp.broadcast_to(jnp.arange(split.mask.shape[1]), split.mask.shape)  # b n
  rows = jnp.arange(len(taken))[:, None]
  return places.at[rows, split.hide].set(taken)


def draw_puzzles(found: Puzzle) -> Image.Image:
  """A row to each image: whole, its context, put together, and what of that is right.

  Raises:
    ValueError: there is no image, or they are neither grey nor colour.
  """
  shape = found.image.shape[1:3]
  image, made = (to_bytes(np.asarray(x)) for x in (found.image, found.made))
  grey = np.uint8(HIDDEN)
  hidden, right = (
    spread(np.asarray(x), shape)[..., None] for x in (found.mask, found.right)
  )
  columns = image, np.where(hidden, grey, image), made, np.where(right, made, grey)
  return draw_table(list(zip(*columns, strict=True)), TITLES)
