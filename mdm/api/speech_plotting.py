"""What a model of speech makes of recordings, as a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdm.api.clips import Clip, ClipLike, find_clips, read_clip
from mdm.api.hearing import cut_clips
from mdm.api.model import Model
from mdm.evaluation.speech_plots import (
  SoundStory,
  Strip,
  choose_scale,
  draw_codes,
  draw_letters,
  draw_probs,
  draw_shares,
  draw_spectrum,
)
from mdm.evaluation.speech_views import View
from mdm.training.build import build_section

LIKELY = 0.05  # classes that never reach it are not drawn
CLASSES = 24  # nor are more than so many
BATCH = 8


@dataclasses.dataclass(frozen=True)
class ShownClips:
  """Which clips are drawn, and how recordings are read.

  Attributes:
    split: whose clips, where none are given.
    seed: of what is hidden.
    resampler, channels, longest: as for `Model.transcribe`; of a longer recording the
      first part is drawn.
  """

  split: str = "validation"
  seed: int = 0
  resampler: str | None = None
  channels: str | int | None = None
  longest: float | None = None


def plot_speech(
  model: Model,
  clips: Sequence[ClipLike],
  out: str | Path,
  count: int,
  settings: Mapping[str, Any],
) -> None:
  """Strips to each clip: spectrogram, then masks and codes, or letters as they come.

  Args:
    model: of a method that hides speech, or a recogniser.
    clips: files, folders, samples; if empty, the first `count` of the run's split.
    out: the picture's path.
    count: how many.
    settings: fields of `ShownClips`.

  Raises:
    ValueError: an unknown setting, a recording that cannot be heard, a file that cannot
      be written, a method without frames to show.
  """
  from mdm.evaluation.image_plots import check_picture, save_picture
  from mdm.evaluation.speech_plots import draw_sounds
  from mdm.evaluation.speech_views import make_viewer

  check_picture(out)
  shown = build_section(ShownClips, settings, "plot")
  view = make_viewer(model.method, shown.seed)
  ear = model.ear(
    resampler=shown.resampler, channels=shown.channels, longest=shown.longest
  )
  known: list[tuple[Clip, str | None]]
  if clips:
    known = [(read_clip(clip, ear), None) for clip in find_clips(clips)]
  else:
    known = model.known_clips(shown.split, count)
  for clip, _ in known:
    if clip.error:
      raise ValueError(clip.error)
  parts = [p for p in cut_clips([clip for clip, _ in known], ear) if p.first == 0]
  stories: dict[int, SoundStory] = {}
  for chosen, rows in model.make_batches(parts, BATCH):
    found = jax.device_get(view(model.variables, rows))
    for row, part in enumerate(chosen):
      clip, truth = known[part.clip]
      one = jax.tree.map(lambda x, row=row: x[row], found)
      name = clip.source
      if len(part.samples) < len(clip.samples):
        name += f" (the first {len(part.samples) / ear.mel.rate:.1f} s)"
      stories[part.clip] = tell_story(model, one, name, truth)
  save_picture(out, [draw_sounds([stories[k] for k in sorted(stories)])])


def tell_story(model: Model, view: View, name: str, truth: str | None) -> SoundStory:
  """The strips of one clip; arrays of `view` have no axis b."""
  mel = np.asarray(view.mel)[np.asarray(view.real)]
  frames = int(view.frames.sum())
  scale = choose_scale(len(mel))
  strips = [Strip("spectrogram", draw_spectrum(mel, scale))]
  if view.mask is None:
    said, text = _tell_said(model, view, frames, scale)
    title = f"{name}: {text or '(no text)'}"
  else:
    said, text = _tell_hidden(view, mel, frames, scale)
    title = f"{name}: {text}"
  title += f"   truth: {truth}" if truth else ""
  return SoundStory(title, [*strips, *said], scale)


def _tell_hidden(
  view: View, mel: np.ndarray, frames: int, scale: int
) -> tuple[list[Strip], str]:
  """What is hidden and its codes; how much, and how much of it is named right."""
  mask, ids, named = (np.asarray(x)[:frames] for x in (view.mask, view.ids, view.named))
  strips = [Strip("hidden", draw_spectrum(mel, scale, mask))]
  if view.confidence is not None:
    sure = np.asarray(view.confidence)[:frames]
    strips.append(Strip("confidence", draw_shares(sure, scale)))
  strips.append(Strip("codes", draw_codes(ids, np.ones(frames, bool), scale)))
  strips.append(Strip("named", draw_codes(named, mask, scale)))
  used = " + ".join(str(len(np.unique(ids[:, g]))) for g in range(ids.shape[1]))
  right = float((ids == named)[mask].mean()) if mask.any() else 0.0
  text = (
    f"{100 * mask.mean():.0f}% hidden, {used} codes, {100 * right:.0f}% named right"
  )
  return strips, text


def _tell_said(
  model: Model, view: View, frames: int, scale: int
) -> tuple[list[Strip], str]:
  """Probabilities of classes, letters where they begin; the text."""
  strips, valid = [], np.asarray(view.valid)
  if view.probs is not None:
    strips.append(_draw_classes(model, np.asarray(view.probs)[:frames], scale))
  tokens, begins = (np.asarray(x)[valid].tolist() for x in (view.tokens, view.begins))
  letters = [(b, _name(model, t)) for b, t in zip(begins, tokens, strict=True)]
  strips.append(Strip("letters", draw_letters(letters, frames, scale)))
  return strips, model.tokenizer.decode(tokens)


def _draw_classes(model: Model, probs: np.ndarray, scale: int) -> Strip:
  """Probabilities of the classes that are ever likely, in order; blank below."""
  blank = probs.shape[1] - 1
  most = probs[:, :blank].max(0, initial=0.0)
  likely = np.flatnonzero(most >= LIKELY)
  likely = np.sort(likely[np.argsort(-most[likely], kind="stable")[:CLASSES]])
  names = [_name(model, k) for k in likely.tolist()]
  rows = draw_probs(probs[:, [*likely, blank]], scale)
  return Strip("\n".join([*names, "blank"]) if names else "blank", rows)


def _name(model: Model, token: int) -> str:
  """What a token says; a space is to be seen."""
  return str(model.tokenizer.decode([token])).replace(" ", "_") or "?"
