"""Writing: from a canvas and settings to texts; what is wrong is said first."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mdm.api.canvases import Canvas
from mdm.decoding.block import check_block_sampling
from mdm.decoding.causal import check_causal
from mdm.decoding.passes import Sampled
from mdm.decoding.settings import (
  REVISING,
  SAMPLERS,
  SamplerSettings,
  check_sampling,
)
from mdm.masks.choices import check_choice
from mdm.methods.base import Method
from mdm.training.config import unknown_key

MOST_STEPS = 128  # that are taken unless asked for


@dataclasses.dataclass(frozen=True)
class Sample:
  """A text that was written.

  Attributes:
    text: all of it, what was given included, up to the first end of text drawn.
    filled: what was written in each hole; after a prompt, in the only one.
    tokens: ids of the whole canvas.
    given: which of them were given.
    canvases: ids after each pass, hidden ones V, if they were asked for.
    steps: the same as texts, hidden tokens "_".
    calls: network passes of the batch that the text was written in.
  """

  text: str
  filled: list[str]
  tokens: list[int] = dataclasses.field(repr=False)
  given: list[bool] = dataclasses.field(repr=False)
  canvases: list[list[int]] = dataclasses.field(repr=False)
  steps: list[str] = dataclasses.field(repr=False)
  calls: int

  def to_json(self) -> dict[str, Any]:
    """The sample as plain types."""
    return dataclasses.asdict(self)


def make_settings(
  sampler: str,
  steps: int | None,
  canvas: Canvas,
  given: Mapping[str, Any],
  *,
  eos_id: int | None,
  is_timeless: bool,
) -> SamplerSettings:
  """A sampler's settings, with what follows from the canvas.

  Args:
    sampler: its name.
    steps: passes; None for one to each hidden position, up to `MOST_STEPS`.
    canvas: that is to be filled.
    given: by name, as in `SamplerSettings`.
    eos_id: ends texts, where the sampler can.
    is_timeless: the network does not look at the time, so that a pass that changed
      nothing need not be repeated.

  Raises:
    ValueError: an unknown setting; the error names the nearest.
  """
  known = {field.name for field in dataclasses.fields(SamplerSettings)}
  known = known - {"num_steps"} | {"steps"}
  for name in given:
    if name not in known:
      raise ValueError(unknown_key(name, known, "a setting of samplers"))
  check_choice("sampler", sampler, SAMPLERS)
  hidden = int((canvas.valid & ~canvas.given).sum())
  settings: dict[str, Any] = {
    "num_steps": min(hidden, MOST_STEPS) if steps is None else steps,
    "caches": is_timeless and sampler == "ancestral",
  }
  if eos_id is not None and sampler not in REVISING:
    settings["eos_id"] = eos_id
  return SamplerSettings(**{**settings, **given})


def check_canvas(
  method: Method, sampler: str, settings: SamplerSettings, canvas: Canvas
) -> None:
  """Checks what a sampler is asked for before anything is compiled.

  Raises:
    ValueError: settings that make no sense for this canvas or method.
  """
  length, given = len(canvas.tokens), int(canvas.given.sum())
  block_length = getattr(method, "block_length", None)
  check_sampling(sampler, settings)
  if is_causal(method):
    if sampler != "ancestral":
      raise ValueError(
        f"sampler = {sampler!r}: a model that writes from left to right has "
        "'ancestral' alone; leave it out."
      )
    check_causal(
      jnp.asarray(canvas.tokens)[None], settings, mask_id=int(_mask_id(method))
    )
    return
  if block_length is not None:
    check_block_sampling(sampler, settings, length, block_length)
  valid = int(canvas.valid.sum())
  check_sampling(sampler, settings, length=valid, prompt_length=given)


def read_sample(canvas: Canvas, found: Sampled, row: int, tokenizer: Any) -> Sample:
  """One row of what was sampled, as a text."""
  ids, given = found.tokens[row][canvas.valid], canvas.given[canvas.valid]
  canvases = found.canvases[:, row][:, canvas.valid]
  is_end = (ids == tokenizer.eos_id) & ~given
  end = int(is_end.argmax()) if is_end.any() else len(ids)
  return Sample(
    text=tokenizer.decode(ids[:end]),
    filled=[tokenizer.decode(ids[:end][hole]) for hole in find_holes(given)],
    tokens=ids.tolist(),
    given=given.tolist(),
    canvases=canvases.tolist(),
    steps=[tokenizer.decode(row) for row in canvases],
    calls=int(found.calls),
  )


def find_holes(given: np.ndarray) -> list[slice]:
  """Runs of positions that were not given."""
  edges = np.flatnonzero(np.diff(np.concatenate([[True], given, [True]]).astype(int)))
  return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def is_causal(method: Method) -> bool:
  """Whether a method writes from left to right."""
  return bool(getattr(getattr(method, "network", None), "is_causal", False))


def is_timeless(method: Method) -> bool:
  """Whether a method's network is known not to look at the time."""
  return getattr(getattr(method, "network", None), "time", None) == "none"


def _mask_id(method: Any) -> int:
  return method.mask_id
