"""A few held-out images filled in again and again while a model learns: a picture.

The images are spread over a split, and which patches of them are hidden depends on the
seed and the image alone, so pictures of different steps and runs show the same task.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.reconstruction_plots import draw_reconstructions, spread
from mdm.evaluation.verbs import check_verb
from mdm.methods.base import Method
from mdm.methods.image.mae import Reconstruction
from mdm.training.illustrated import Illustrated
from mdm.training.keys import stream_keys

Batch = Mapping[str, Any]
Reconstructor = Callable[[Variables, Batch], Reconstruction]


@dataclasses.dataclass(frozen=True)
class Reconstructions(Evaluation):
  """Fills in a few images, draws them, and measures the errors of these alone.

  Attributes:
    split: whose images.
    count: how many.
    seed: of what is hidden.
  """

  split: str = "validation"
  count: int = 8
  seed: int = 0

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    reconstruct = make_reconstructor(method, self.seed)
    batch = spread_images(datasets.load(data, self.split), self.count)

    def evaluate(variables: Variables) -> Illustrated:
      """The numbers and the picture."""
      found = reconstruct(variables, batch)
      return Illustrated(measure(found), np.asarray(draw_reconstructions(found)))

    return evaluate


def make_reconstructor(method: Method, seed: int = 0) -> Reconstructor:
  """A compiled function from variables and images to what is made of them.

  Raises:
    ValueError: the method fills nothing in.
  """
  check_verb(method, "reconstruct")

  @jax.jit
  def fill_in(variables: Variables, batch: Batch) -> Reconstruction:
    """One batch."""
    keys = stream_keys(seed, 0)
    found = method.apply(variables, batch, rngs=keys, method="reconstruct")
    return cast(Reconstruction, found)

  def reconstruct(variables: Variables, batch: Batch) -> Reconstruction:
    """One batch, as NumPy arrays."""
    return jax.device_get(fill_in(variables, batch))

  return reconstruct


def spread_images(dataset: Any, count: int) -> dict[str, np.ndarray]:
  """`count` images [b y x c] from all over a split, and their numbers `index`.

  A split that is in order of its classes shows several so.

  Raises:
    ValueError: `count` is below 1, or the split has no image.
  """
  if count < 1:
    raise ValueError(f"count = {count} images are none to draw; write 1 or more.")
  if not len(dataset):
    raise ValueError("the split has no image to draw; choose another.")
  places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
  numbers = np.unique(np.rint(places).astype(np.int32))
  rows = dataset.fetch(numbers)
  is_whole = rows.get("weight", np.ones(len(numbers))) > 0
  return {"image": rows["image"][is_whole], "index": numbers[is_whole]}


def measure(found: Reconstruction) -> dict[str, float]:
  """`error`, the method's own, of hidden patches; `pixel_error` of their pixels.

  The latter is the mean squared difference of values in [0, 1], whatever is the target.
  """
  square = np.square(found.filled - found.image).mean(-1)  # b y x
  hidden = spread(np.asarray(found.mask), found.image.shape[1:3])
  return {
    "error": float(found.error[found.mask].mean()),
    "pixel_error": float(square[hidden].mean()),
  }
