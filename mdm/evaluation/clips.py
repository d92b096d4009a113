"""A few held-out clips looked at again and again while a model of speech learns.

A method that hides speech shows its masks and codes, a recogniser what it writes down,
each below the spectrogram; the clips can be heard beside them. What is hidden depends
on the seed and the clip alone, so pictures of different steps show the same task.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.speech_plots import (
  SoundStory,
  Strip,
  choose_scale,
  draw_letters,
  draw_sounds,
  draw_spectrum,
)
from mdm.evaluation.speech_stories import count_hidden, tell_hidden
from mdm.evaluation.speech_views import View, make_viewer
from mdm.methods.base import Method
from mdm.training.illustrated import Illustrated
from mdm.training.sounds import Sound

WANTED = ("audio", "audio_length", "index")


@dataclasses.dataclass(frozen=True)
class Clips(Evaluation):
  """Draws clips, plays them, and says how much of them is hidden and named right.

  Of a recogniser the number is how many tokens it writes a clip.

  Attributes:
    split: whose first clips.
    count: how many.
    seed: of what is hidden.
    plays: whether they are kept as sounds too.
  """

  split: str = "validation"
  count: int = 2
  seed: int = 0
  plays: bool = True

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class.

    Raises:
      ValueError: no clip is to be looked at, or a method has nothing to show.
    """
    from mdm.data import datasets, pipeline

    if self.count < 1:
      raise ValueError(f"count = {self.count} clips are none to draw; write 1 or more.")
    dataset: Any = datasets.load(data, self.split)
    view = make_viewer(method, self.seed)
    step: int = getattr(method, "frame_step")  # noqa: B009  of all on speech
    rate: int = getattr(method, "rate")  # noqa: B009

    def evaluate(variables: Variables) -> Illustrated:
      """The numbers, the picture and the sounds."""
      stories, numbers, sounds = [], [], {}
      for rows in pipeline.eval_batches(dataset, self.count, limit=self.count):
        seen = jax.device_get(view(variables, {key: rows[key] for key in WANTED}))
        for row in np.flatnonzero(rows["weight"] > 0):
          one = jax.tree.map(lambda x, row=row: x[row], seen)
          index = int(rows["index"][row])
          story, found = tell_clip(one, f"clip {index}", dataset, step)
          stories.append(story)
          numbers.append(found)
          whole = rows["audio"][row][: rows["audio_length"][row]]
          sounds[str(index)] = Sound(np.asarray(whole, np.float32), rate)
      means = {name: float(np.mean([n[name] for n in numbers])) for name in numbers[0]}
      picture = np.asarray(draw_sounds(stories))
      return Illustrated(means, picture, sounds if self.plays else None)

    return evaluate


def tell_clip(
  view: View, name: str, dataset: Any, step: int
) -> tuple[SoundStory, dict[str, float]]:
  """The strips of one clip and its numbers; arrays of `view` have no axis b.

  Args:
    name: what stands above, before what was found.
    dataset: whose tokenizer tells what a recogniser writes.
    step: mel frames of an encoder frame.
  """
  mel = np.asarray(view.mel)[np.asarray(view.real)]
  frames = int(view.frames.sum())
  scale = choose_scale(len(mel))
  strips = [Strip("spectrogram", draw_spectrum(mel, scale))]
  if view.mask is not None:
    found, text = tell_hidden(view, mel, frames, scale, step=step)
    numbers = count_hidden(view, frames)
    return SoundStory(f"{name}: {text}", [*strips, *found], scale), numbers
  valid = np.asarray(view.valid)
  tokens, begins = (np.asarray(x)[valid].tolist() for x in (view.tokens, view.begins))
  letters = [
    (b, dataset.tokenizer.decode([t])) for b, t in zip(begins, tokens, strict=True)
  ]
  strips.append(Strip("heard", draw_letters(letters, frames, step * scale)))
  title = f"{name}: {dataset.tokenizer.decode(tokens) or '(no text)'}"
  return SoundStory(title, strips, scale), {"tokens": float(len(tokens))}
