"""Images as rows of square patches, what is to be predicted of them, and choosing some.

Patches lie in raster order; the pixels of a patch in the order row, column, channel.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2022, section 3
and the authors' code (`standardise`); *VideoMAE*, Tong et al., 2022, and its code
(`standardise_channels`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm.masks.choices import check_choice

GATHERS = ("take", "onehot")


def grid_of(rows: int, columns: int, patch: int) -> tuple[int, int]:
  """Rows and columns of patches in an image of `rows` x `columns` pixels.

  Raises:
    ValueError: patches do not tile the image.
  """
  if patch < 1 or rows % patch or columns % patch:
    raise ValueError(
      f"patch = {patch} does not tile an image of {rows} x {columns} pixels; choose a "
      "patch that divides both, or another data.image_size."
    )
  return rows // patch, columns // patch


def patchify(image: Float[Array, "b y x c"], patch: int) -> Float[Array, "b n q"]:
  """Cuts images into patches of q = patch * patch * c values.

  Raises:
    ValueError: patches do not tile the image.
  """
  b, y, x, c = image.shape
  rows, columns = grid_of(y, x, patch)
  cut = image.reshape(b, rows, patch, columns, patch, c).swapaxes(2, 3)
  return cut.reshape(b, rows * columns, patch * patch * c)  # b n q


def unpatchify(
  patches: Float[Array, "b n q"], grid: tuple[int, int], channels: int
) -> Float[Array, "b y x c"]:
  """Puts patches of a `grid` (rows, columns) together again.

  Raises:
    ValueError: the patches are not as many as the grid has, or not square.
  """
  b, n, q = patches.shape
  rows, columns = grid
  patch = round((q / channels) ** 0.5)
  if n != rows * columns or patch * patch * channels != q:
    raise ValueError(
      f"{n} patches of {q} values are no image of {rows} x {columns} square patches "
      f"with {channels} channels; give the grid and channels they were cut by."
    )
  cut = patches.reshape(b, rows, columns, patch, patch, channels).swapaxes(2, 3)
  return cut.reshape(b, rows * patch, columns * patch, channels)  # b y x c


def standardise(
  patches: Float[Array, "b n q"], epsilon: float = 1e-6
) -> Float[Array, "b n q"]:
  """Each patch with mean 0 and (unbiased) variance 1 over all of its values.

  (x - mean) / sqrt(var + epsilon): the epsilon lies inside of the root.
  """
  mean, variance = patch_moments(patches)
  return (patches - mean) * jax.lax.rsqrt(variance + epsilon)


def patch_moments(
  patches: Float[Array, "b n q"],
) -> tuple[Float[Array, "b n 1"], Float[Array, "b n 1"]]:
  """Mean and unbiased variance of each patch's values."""
  mean = patches.mean(-1, keepdims=True)
  return mean, patches.var(-1, keepdims=True, ddof=1)


def standardise_channels(
  patches: Float[Array, "b n q"], channels: int, epsilon: float = 1e-6
) -> Float[Array, "b n q"]:
  """Each channel of each patch with mean 0 and (unbiased) deviation 1.

  (x - mean) / (sqrt(var) + epsilon): the epsilon lies outside of the root. The patches
  hold values in [0, 1], with the channel last.
  """
  pixels = patches.reshape(*patches.shape[:2], -1, channels)  # b n p c
  deviation = jnp.sqrt(pixels.var(2, keepdims=True, ddof=1)) + epsilon
  y = (pixels - pixels.mean(2, keepdims=True)) / deviation
  return y.reshape(patches.shape)  # b n q


def take_tokens(
  x: Float[Array, "#b n d"], index: Int[Array, "b k"], *, gather: str = "take"
) -> Float[Array, "b k d"]:
  """Each row's tokens at the given places, in the order given.

  Args:
    x: tokens; one row may serve all (a table of positions).
    gather: "take" reads them; "onehot" multiplies by a matrix of ones and zeros, the
      same numbers exactly, and often faster on a TPU for a few hundred tokens.
  """
  check_choice("gather", gather, GATHERS)
  if gather == "onehot":
    chosen = jax.nn.one_hot(index, x.shape[1], dtype=x.dtype)  # b k n
    x = jnp.broadcast_to(x, (index.shape[0], *x.shape[1:]))
    return jnp.einsum("bkn,bnd->bkd", chosen, x, precision="highest")
  if x.shape[0] == 1:
    return jnp.take(x[0], index, axis=0)
  return jnp.take_along_axis(x, index[..., None], axis=1)
