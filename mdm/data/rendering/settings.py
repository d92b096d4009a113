"""What an image of a word looks like, as settings."""

import dataclasses

STYLES = ("print", "scene")


@dataclasses.dataclass(frozen=True)
class RenderSettings:
  """Size of the image and how hard it is to read.

  Attributes:
    image_size: rows and columns.
    channels: 1 grey, 3 colour.
    strength: 0 clean print, 1 hard photographs.
    case: "lower", or "mixed" for capitals and upper case as well.
    style: "print" fills the image with the word; "scene" is a crop of a photograph, at
      a size of its own, stretched to the image (scenes.py).
    texts: "words", or "signs" in place of `case`: mixed case, numbers, punctuation
      (signs.py).
    photos_dir: a folder of photographs for the grounds of scenes.
  """

  image_size: tuple[int, int] = (32, 96)
  channels: int = 1
  strength: float = 0.7
  case: str = "lower"
  style: str = "print"
  texts: str = "words"
  photos_dir: str | None = None

  def __post_init__(self) -> None:
    """Raises ValueError for values out of range."""
    if min(self.image_size) < 8:
      raise ValueError(
        f"data.image_size = {self.image_size} is too small to read; write 8 or more."
      )
    if self.channels not in (1, 3):
      raise ValueError(
        f"data.channels = {self.channels} is neither 1 (grey) nor 3 (colour)."
      )
    if not 0 <= self.strength <= 1:
      raise ValueError(
        f"data.strength = {self.strength} lies outside [0, 1]; 0 is clean, 1 is hard."
      )
    if self.case not in ("lower", "mixed"):
      raise ValueError(f"data.case = {self.case!r} is neither 'lower' nor 'mixed'.")
    if self.style not in STYLES:
      raise ValueError(f"data.style = {self.style!r} is neither 'print' nor 'scene'.")
    if self.texts not in ("words", "signs"):
      raise ValueError(f"data.texts = {self.texts!r} is neither 'words' nor 'signs'.")
