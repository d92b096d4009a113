"""A few samples of a diffusion model, drawn again and again while it learns.

Images where tokens are pixels, else texts. Sample i draws from the seed's key folded
with i, so pictures of different steps begin alike.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mdm.decoding.settings import SamplerSettings, check_sampling
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.image_plots import draw_grid
from mdm.evaluation.samples import draw_rows, make_sampler, unigram_entropy
from mdm.evaluation.text_plots import TextStory, draw_sheet
from mdm.methods.base import Method
from mdm.training.illustrated import Illustrated


@dataclasses.dataclass(frozen=True)
class Drawings(SamplerSettings, Evaluation):
  """Samples and draws them; the sampler's settings are settings here.

  The number is the entropy of each sample's own tokens, which falls as samples repeat
  themselves.

  Attributes:
    sampler: one of `decoding.settings.SAMPLERS`.
    count: how many.
    length: tokens of a text; None for the data's.
    seed: of all samples.
    split: whose shape the samples have.
  """

  sampler: str = "ancestral"
  count: int = 4
  length: int | None = None
  seed: int = 0
  split: str = "validation"

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class.

    Raises:
      ValueError: no sample is to be drawn, or the method cannot sample.
    """
    from mdm.data import datasets

    if self.count < 1:
      raise ValueError(f"count = {self.count} samples are none; write 1 or more.")
    dataset: Any = datasets.load(data, self.split)
    shape = dataset.describe().get("image_shape")
    length = int(np.prod(shape)) if shape else self.length or dataset.settings.length
    settings = SamplerSettings(
      **{f.name: getattr(self, f.name) for f in dataclasses.fields(SamplerSettings)}
    )
    check_sampling(self.sampler, settings, length=length)
    draw = make_sampler(method, self.sampler, settings)
    mask_id = int(getattr(method, "mask_id"))  # noqa: B009  of all that can sample

    def evaluate(variables: Variables) -> Illustrated:
      """The number and the picture."""
      canvas = np.full((self.count, length), mask_id, np.int32)
      found = draw_rows(draw, variables, canvas, seed=self.seed, batch=self.count)
      rows = [row for part in found for row in np.asarray(part.tokens)]
      entropy = float(np.mean([unigram_entropy(row) for row in rows]))
      picture = _draw_images(rows, shape) if shape else _draw_texts(rows, dataset)
      return Illustrated({"entropy_bits": entropy}, np.asarray(picture.convert("RGB")))

    return evaluate


def _draw_images(rows: list[np.ndarray], shape: list[int]) -> Image.Image:
  """A grid of images whose values are the tokens."""
  return draw_grid([row.astype(np.uint8).reshape(shape) for row in rows])


def _draw_texts(rows: list[np.ndarray], dataset: Any) -> Image.Image:
  """Texts one below the other, a cell to each token."""
  stories = []
  for number, row in enumerate(rows):
    cells = [dataset.tokenizer.decode([token]) or " " for token in row.tolist()]
    stories.append(TextStory([cells], [False] * len(cells), f"sample {number}"))
  return draw_sheet(stories)
