"""When words were said, by the frames in which their tokens begin."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Word(NamedTuple):
  """A word, and its seconds from the start; None where frames are not known.

  `begin_s` is where the frame of its first token begins, `end_s` where that of its last
  token ends. A recogniser says a token once it has heard enough of it, so sound may go
  on a little after that.
  """

  text: str
  begin_s: float | None
  end_s: float | None

  def to_json(self) -> dict[str, Any]:
    """The word as plain types."""
    return {"word": self.text, "begin_s": self.begin_s, "end_s": self.end_s}


def time_words(
  tokens: Sequence[int],
  frames: Sequence[int],
  decode: Callable[[Sequence[int]], str],
  frame_s: float,
) -> list[Word]:
  """The words of a text, whatever its tokens are: letters, pieces or bytes.

  A token belongs to the word that is the last one of the text up to it; what adds only
  space belongs to none.

  Args:
    tokens: ids, in the order they were said.
    frames: the frame in which each begins; negative where that is not known.
    decode: from ids to text.
    frame_s: seconds from one frame to the next.
  """
  words = decode(tokens).split()
  spans: list[list[int]] = [[] for _ in words]
  before = ""
  for count, frame in enumerate(frames, 1):
    text = decode(tokens[:count]).rstrip()
    if text != before and words:
      spans[min(len(text.split()), len(words)) - 1].append(frame)
    before = text
  return [_time(word, span, frame_s) for word, span in zip(words, spans, strict=True)]


def _time(word: str, frames: Sequence[int], frame_s: float) -> Word:
  """A word from the begin of its first frame to the end of its last."""
  if not frames or min(frames) < 0:
    return Word(word, None, None)
  return Word(
    word, round(min(frames) * frame_s, 6), round((max(frames) + 1) * frame_s, 6)
  )
