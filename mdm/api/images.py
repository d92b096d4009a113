"""What a model of images is asked for whose tokens are pixels: to draw some."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
from jaxtyping import Int, UInt8

from mdm.api.canvases import Canvas
from mdm.api.writing import check_canvas, is_timeless, make_settings
from mdm.decoding.passes import Sampled
from mdm.decoding.settings import SamplerSettings
from mdm.evaluation.samples import draw_rows, make_sampler
from mdm.evaluation.verbs import check_verb
from mdm.methods.base import Method


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSample:
  """An image that was drawn.

  Attributes:
    pixels: its values.
    canvases: values after each pass, hidden ones 256, if they were asked for.
    calls: network passes of the batch that the image was drawn in.
  """

  pixels: UInt8[np.ndarray, "y x c"]
  canvases: Int[np.ndarray, "s y x c"] = dataclasses.field(repr=False)
  calls: int


class ImageModel:
  """The verb of models of pixels, for a class with these attributes.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any]

  @property
  def draws_images(self) -> bool:
    """Whether the run's tokens are the pixels of images."""
    from mdm.data.datasets import read_settings
    from mdm.data.image_settings import ImageSettings

    settings = read_settings(self.cfg.data.to_dict())
    return isinstance(settings, ImageSettings) and settings.form == "tokens"

  def sample_images(
    self,
    num: int = 16,
    *,
    sampler: str = "ancestral",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 16,
    **settings: Any,
  ) -> list[ImageSample]:
    """Draws images, all values hidden at first.

    Args:
      num: how many.
      sampler: one of `decoding.settings.SAMPLERS`.
      steps: passes; None for 128.
      seed: image i draws from the seed's key folded with i.
      batch: images drawn at once.
      **settings: others of `decoding.settings.SamplerSettings`, as for `sample`.

    Raises:
      ValueError: settings that make no sense, a model that draws no images. Nothing is
        compiled before.
    """
    check_verb(self.method, "sample")
    shape = self._image_shape()
    if num < 1 or batch < 1:
      raise ValueError(f"num = {num} and batch = {batch} must be 1 or more.")
    size, mask_id = int(np.prod(shape)), int(getattr(self.method, "mask_id"))  # noqa: B009
    nothing, everything = np.zeros(size, bool), np.ones(size, bool)
    canvas = Canvas(np.full(size, mask_id, np.int32), everything, nothing)
    timeless = is_timeless(self.method)
    chosen = make_settings(
      sampler, steps, canvas, settings, eos_id=None, is_timeless=timeless
    )
    check_canvas(self.method, sampler, chosen, canvas)
    tokens = np.broadcast_to(canvas.tokens, (num, size))
    draw = self._image_sampler(sampler, chosen)
    found = draw_rows(draw, self.variables, tokens, seed=seed, batch=min(batch, num))
    return [
      _read_image(part, row, shape) for part in found for row in range(len(part.tokens))
    ]

  def _image_shape(self) -> tuple[int, ...]:
    """Rows, columns and channels of an image."""
    name = self.cfg.data.get("name", "rendered_words")
    if not self.draws_images:
      raise ValueError(
        f"data.name = {name!r} holds no pixels to draw; load a run that was trained on "
        "images, as configs/diffusion/md4_cifar10.py."
      )
    size = getattr(getattr(self.method, "network", None), "size", None)
    if size is None or len(size) != 3:
      raise ValueError(
        f"model.network.size = {size} does not say the rows, columns and channels of "
        "an image; draw with a run whose network is dit.DiT."
      )
    return tuple(int(side) for side in size)

  @functools.cache  # noqa: B019  one compiled sampler per setting, as long as the model
  def _image_sampler(self, sampler: str, settings: SamplerSettings) -> Any:
    return make_sampler(self.method, sampler, settings)


def _read_image(found: Sampled, row: int, shape: tuple[int, ...]) -> ImageSample:
  """One row of what was sampled, as an image."""
  return ImageSample(
    pixels=np.asarray(found.tokens[row], np.uint8).reshape(shape),
    canvases=np.asarray(found.canvases[:, row]).reshape(-1, *shape),
    calls=int(found.calls),
  )
