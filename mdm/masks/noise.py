"""Masks from coloured noise: the strongest values of a window of filtered noise stay.

With W white noise and G_s a Gaussian low-pass filter whose width s counts patches:
red G_s W, blue W - G_s W, green G_s1 W - G_s2 W with s1 < s2, purple W - green. Red
leaves large blobs visible, blue spreads what is visible evenly, green lies between.

Source: *ColorMAE: Exploring data-independent masking strategies in Masked
AutoEncoders*, Hinojosa et al., 2024, section 3, and its released code.
Differences: the paper offers its patterns for download and gives no widths; these are
generated, with widths of our choice. A pattern goes on at its other edge, so that every
offset counts the same. Pattern, offset and flips are drawn for every example; the
released code draws offset and flips once a batch and gives example i pattern i. It also
divides a window by its maximum, which keeps the order as long as that is positive.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.masks.choices import check_choice

# Widths of the low-pass filters of each colour, in patches.
SIGMAS: dict[str, tuple[float, ...]] = {
  "white": (),
  "red": (1.0,),
  "blue": (1.0,),
  "green": (0.5, 2.0),
  "purple": (0.5, 2.0),
}


class Crops(NamedTuple):
  """Which window of which pattern each example takes; flips follow the cut."""

  pattern: Int[Array, "b"]
  top: Int[Array, "b"]
  left: Int[Array, "b"]
  flips_rows: Bool[Array, "b"]
  flips_columns: Bool[Array, "b"]


@functools.lru_cache(maxsize=8)
def color_patterns(
  color: str,
  *,
  seed: int,
  count: int = 512,
  size: int = 64,
  sigmas: tuple[float | int, ...] | None = None,
) -> Float[np.ndarray, "{count} {size} {size}"]:
  """Patterns of noise of mean 0 and variance 1 each, float32, the same for a seed.

  All colours of one seed are filtered from the same white noise. The result is kept
  and cannot be written to.

  Args:
    color: one of `SIGMAS`.
    seed: of the white noise.
    count: patterns.
    size: rows and columns; at least those of the patch grid.
    sigmas: widths of the filters in patches; None for those of `SIGMAS`.

  Raises:
    ValueError: as `filter_noise`.
  """
  white = np.random.default_rng(seed).standard_normal((count, size, size))
  noise = filter_noise(white, color, sigmas)
  noise -= noise.mean(axis=(1, 2), keepdims=True)
  noise /= noise.std(axis=(1, 2), keepdims=True)
  patterns = noise.astype(np.float32)
  patterns.setflags(write=False)
  return patterns


def filter_noise(
  white: Float[np.ndarray, "m y x"],
  color: str,
  sigmas: Sequence[float | int] | None = None,
) -> Float[np.ndarray, "m y x"]:
  """Colours white noise by circular convolution; red + blue = green + purple = white.

  Raises:
    ValueError: for an unknown colour, a wrong number of widths, or widths that are not
      positive and ascending.
  """
  check_choice("color", color, SIGMAS)
  widths = SIGMAS[color] if sigmas is None else tuple(sigmas)
  ascend = all(a < b for a, b in itertools.pairwise((0.0, *widths)))
  if len(widths) != len(SIGMAS[color]) or not ascend:
    raise ValueError(
      f"sigmas = {widths} do not filter {color} noise, which takes "
      f"{len(SIGMAS[color])} positive ascending widths; the default is {SIGMAS[color]}."
    )
  if color == "white":
    return white.copy()
  if color in ("red", "blue"):
    band = _low_pass(white, widths[0])
  else:
    band = _low_pass(white, widths[0]) - _low_pass(white, widths[1])
  return band if color in ("red", "green") else white - band


def noise_windows(
  keys: Key[Array, "b"],
  patterns: Float[Array, "*colors m y x"] | Float[np.ndarray, "*colors m y x"],
  rows: int,
  columns: int,
  *,
  color: int | Int[Array, ""] = 0,
) -> Float[Array, "b {rows}*{columns}"]:
  """A random window of a random pattern for each example, turned over at random.

  The released code keeps the strongest values visible: give the negative of this to
  `split_by_score`.

  Args:
    keys: one key per example.
    patterns: of one colour, or of several stacked along a first axis.
    rows, columns: the patch grid.
    color: which of the stacked colours; may be traced.

  Raises:
    ValueError: if the patterns are smaller than the grid.
  """
  chosen = jnp.asarray(patterns)
  if chosen.ndim == 4:
    chosen = jax.lax.dynamic_index_in_dim(chosen, color, keepdims=False)
  return cut_windows(chosen, draw_crops(keys, chosen.shape), rows, columns)


def draw_crops(keys: Key[Array, "b"], shape: tuple[int, ...]) -> Crops:
  """A pattern, an offset and two flips for each example, all equally likely.

  Args:
    keys: one key per example.
    shape: of the patterns: count, rows, columns.
  """
  most = jnp.array([*shape, 2, 2])
  draw = jax.vmap(lambda key: jax.random.randint(key, (5,), 0, most))
  pattern, top, left, rows, columns = draw(keys).T
  return Crops(pattern, top, left, rows == 1, columns == 1)


def cut_windows(
  patterns: Float[Array, "m y x"], crops: Crops, rows: int, columns: int
) -> Float[Array, "b {rows}*{columns}"]:
  """Cuts the windows of `rows` by `columns` out of patterns that go on at their edges.

  Raises:
    ValueError: if the patterns are smaller than the windows.
  """
  _, high, wide = patterns.shape
  if high < rows or wide < columns:
    raise ValueError(
      f"noise patterns of {high} x {wide} are smaller than the patch grid of {rows} x "
      f"{columns}; generate them with size = {max(rows, columns)} or more."
    )
  down = _places(crops.top, crops.flips_rows, rows) % high  # b rows
  across = _places(crops.left, crops.flips_columns, columns) % wide  # b columns
  pattern = crops.pattern[:, None, None]
  windows = patterns[pattern, down[:, :, None], across[:, None, :]]  # b rows columns
  return windows.reshape(-1, rows * columns)


def color_at(
  epoch: Float[Array, ""] | float | int, changes: Sequence[float | int]
) -> Int[Array, ""]:
  """Which colour of a curriculum an epoch takes: how many `changes` lie behind it.

  (200, 250, 275) gives colour 0 before epoch 200, 1 from there, 3 from epoch 275 on.

  Raises:
    ValueError: if the epochs do not ascend.
  """
  if any(a >= b for a, b in itertools.pairwise(changes)):
    raise ValueError(f"color changes = {tuple(changes)} do not ascend; order them.")
  return jnp.sum(jnp.asarray(epoch) >= jnp.asarray(changes, jnp.float32))


def _low_pass(
  noise: Float[np.ndarray, "m y x"], sigma: float | int
) -> Float[np.ndarray, "m y x"]:
  """Circular convolution with a Gaussian of standard deviation `sigma`."""
  _, rows, columns = noise.shape
  u, v = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
  transfer = np.exp(-2 * (math.pi * sigma) ** 2 * (u**2 + v**2))
  return np.fft.irfft2(np.fft.rfft2(noise) * transfer, s=(rows, columns))


def _places(
  start: Int[Array, "b"], flips: Bool[Array, "b"], length: int
) -> Int[Array, "b {length}"]:
  """The positions of windows from `start` on, backwards where flipped."""
  step = jnp.arange(length)
  return start[:, None] + jnp.where(flips[:, None], length - 1 - step, step)
