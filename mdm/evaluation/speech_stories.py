"""What is told of a clip whose speech a method hides: strips, and a line of words."""

import numpy as np

from mdm.evaluation.speech_plots import Strip, draw_codes, draw_shares, draw_spectrum
from mdm.evaluation.speech_views import View


def tell_hidden(
  view: View, mel: np.ndarray, frames: int, scale: int, *, step: int
) -> tuple[list[Strip], str]:
  """What is hidden and its codes; how much, and how much of it is named right.

  Args:
    view: of one clip, without the axis b.
    mel: features of its real frames.
    frames: its encoder frames.
    scale: pixels of a mel frame.
    step: mel frames of an encoder frame.
  """
  mask, ids, named = (np.asarray(x)[:frames] for x in (view.mask, view.ids, view.named))
  strips = [Strip("hidden", draw_spectrum(mel, scale, mask, step=step))]
  wide = step * scale
  if view.confidence is not None:
    sure = np.asarray(view.confidence)[:frames]
    strips.append(Strip("confidence", draw_shares(sure, wide)))
  strips.append(Strip("codes", draw_codes(ids, np.ones(frames, bool), wide)))
  strips.append(Strip("named", draw_codes(named, mask, wide)))
  used = " + ".join(str(len(np.unique(ids[:, g]))) for g in range(ids.shape[1]))
  found = count_hidden(view, frames)
  text = (
    f"{100 * found['hidden']:.0f}% hidden, {used} codes, "
    f"{100 * found['named']:.0f}% named right"
  )
  return strips, text


def count_hidden(view: View, frames: int) -> dict[str, float]:
  """The shares of frames that are hidden, and of hidden codes that are named right."""
  mask, ids, named = (np.asarray(x)[:frames] for x in (view.mask, view.ids, view.named))
  right = float((ids == named)[mask].mean()) if mask.any() else 0.0
  return {"hidden": float(mask.mean()), "named": right}
