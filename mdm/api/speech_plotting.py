"""What a model of speech makes of recordings, as a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from mdm.api.aligning import add_texts, encode_text, read_text
from mdm.api.clips import Clip, ClipLike, find_clips, read_clip
from mdm.api.hearing import Part, cut_clips
from mdm.api.model import Model
from mdm.evaluation.speech_plots import (
  SoundStory,
  Strip,
  choose_scale,
  draw_letters,
  draw_probs,
  draw_spectrum,
  draw_words,
  mark_path,
)
from mdm.evaluation.speech_stories import tell_hidden
from mdm.evaluation.speech_views import View
from mdm.evaluation.word_times import time_words
from mdm.methods.speech.ctc import Ctc
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
    text: what the one recording given says, which CTC aligns to its frames; of clips of
      a split it is known.
    resampler, channels, longest: as for `Model.transcribe`; of a longer recording the
      first part is drawn.
  """

  split: str = "validation"
  seed: int = 0
  text: str | None = None
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

  Where CTC knows what is said, it shows where that is: by `text`, or of a split.

  Args:
    model: of a method that hides speech, or a recogniser.
    clips: files, folders, samples; if empty, the first `count` of the run's split.
    out: the picture's path.
    count: how many.
    settings: fields of `ShownClips`.

  Raises:
    ValueError: an unknown setting, a recording that cannot be heard, a file that cannot
      be written, a method without frames to show, a text that cannot be aligned.
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
  if clips or shown.text is not None:
    known = [(read_clip(clip, ear), None) for clip in find_clips(clips)]
  else:
    known = model.known_clips(shown.split, count)
  for clip, _ in known:
    if clip.error:
      raise ValueError(clip.error)
  if shown.text is not None:
    text = read_text(model, shown.text, [clip for clip, _ in known])
    known = [(known[0][0], text)]
  parts = [p for p in cut_clips([clip for clip, _ in known], ear) if p.first == 0]
  texts = _encode_texts(model, known, parts, is_asked=shown.text is not None)
  width = max([1, *map(len, texts.values())])
  stories: dict[int, SoundStory] = {}
  for chosen, rows in model.make_batches(parts, BATCH):
    if texts:
      rows = add_texts(rows, [texts.get(part.clip, []) for part in chosen], width)
    found = jax.device_get(view(model.variables, rows))
    for row, part in enumerate(chosen):
      clip, truth = known[part.clip]
      one = jax.tree.map(lambda x, row=row: x[row], found)
      name = clip.source
      if len(part.samples) < len(clip.samples):
        name += f" (the first {len(part.samples) / ear.mel.rate:.1f} s)"
      known_ids = texts.get(part.clip, [])
      stories[part.clip] = tell_story(model, one, name, truth, known_ids)
  save_picture(out, [draw_sounds([stories[k] for k in sorted(stories)])])


def _encode_texts(
  model: Model,
  known: Sequence[tuple[Clip, str | None]],
  parts: Sequence[Part],
  *,
  is_asked: bool,
) -> dict[int, list[int]]:
  """Tokens of the texts that can be aligned, by the number of their clips.

  Raises:
    ValueError: one cannot, and it is asked for.
  """
  found: dict[int, list[int]] = {}
  for part in parts:
    clip, text = known[part.clip]
    if text is None or not isinstance(model.method, Ctc):
      continue
    try:
      found[part.clip] = encode_text(model, text, clip, len(part.samples))
    except ValueError:
      if is_asked:
        raise
  return found


def tell_story(
  model: Model, view: View, name: str, truth: str | None, known: Sequence[int] = ()
) -> SoundStory:
  """The strips of one clip; arrays of `view` have no axis b.

  Args:
    truth: what is said.
    known: the same as tokens, where `view` has their path.
  """
  mel = np.asarray(view.mel)[np.asarray(view.real)]
  frames = int(view.frames.sum())
  scale = choose_scale(len(mel))
  strips = [Strip("spectrogram", draw_spectrum(mel, scale))]
  step: int = getattr(model.method, "frame_step")  # noqa: B009  of all on speech
  if view.mask is None:
    said, text = _tell_said(model, view, known, frames, wide=step * scale)
    title = f"{name}: {text or '(no text)'}"
  else:
    said, text = tell_hidden(view, mel, frames, scale, step=step)
    title = f"{name}: {text}"
  title += f"   truth: {truth}" if truth else ""
  return SoundStory(title, [*strips, *said], scale)


def _tell_said(
  model: Model, view: View, known: Sequence[int], frames: int, *, wide: int
) -> tuple[list[Strip], str]:
  """Probabilities of classes, where a known text is, letters as heard; these as text.

  The path of a known text goes through the probabilities as dots.
  """
  strips, valid = [], np.asarray(view.valid)
  path = np.asarray(view.path)[:frames] if known else np.zeros(0, int)
  if view.probs is not None:
    probs = np.asarray(view.probs)[:frames]
    strips.append(_draw_classes(model, probs, wide, known, path))
  if known:
    strips.append(Strip("aligned", _draw_aligned(model, known, path, wide)))
  tokens, begins = (np.asarray(x)[valid].tolist() for x in (view.tokens, view.begins))
  letters = [(b, _name(model, t)) for b, t in zip(begins, tokens, strict=True)]
  strips.append(Strip("heard", draw_letters(letters, frames, wide)))
  return strips, model.tokenizer.decode(tokens)


def _draw_classes(
  model: Model,
  probs: np.ndarray,
  wide: int,
  known: Sequence[int] = (),
  path: Sequence[int] | np.ndarray = (),
) -> Strip:
  """Probabilities of classes that are ever likely or known, in order; blank below."""
  blank = probs.shape[1] - 1
  most = probs[:, :blank].max(0, initial=0.0)
  likely = np.flatnonzero(most >= LIKELY)
  likely = likely[np.argsort(-most[likely], kind="stable")[:CLASSES]]
  classes = np.array(sorted({*likely.tolist(), *known}), int)
  names = [_name(model, k) for k in classes.tolist()]
  rows = draw_probs(probs[:, [*classes, blank]], wide)
  if known:
    place = {token: row for row, token in enumerate(classes.tolist())}
    cells = [
      (frame, len(classes) if k < 0 else place[known[k]])
      for frame, k in enumerate(np.asarray(path).tolist())
    ]
    rows = mark_path(rows, cells, wide)
  return Strip("\n".join([*names, "blank"]), rows)


def _draw_aligned(
  model: Model, known: Sequence[int], path: np.ndarray, wide: int
) -> Image.Image:
  """The letters of a known text in the frames that say them, word by word."""
  begins = [int((path == k).argmax()) for k in range(len(known))]
  letters = [
    (frame, _name(model, token))
    for frame, token in zip(begins, known, strict=True)
    if model.tokenizer.decode([token]).strip()
  ]
  words = time_words(known, begins, model.tokenizer.decode, 1.0)
  bands = [
    (int(word.begin_s), int(word.end_s))
    for word in words
    if word.begin_s is not None and word.end_s is not None
  ]
  return draw_words(bands, letters, len(path), wide)


def _name(model: Model, token: int) -> str:
  """What a token says; a space is to be seen."""
  return str(model.tokenizer.decode([token])).replace(" ", "_") or "?"
