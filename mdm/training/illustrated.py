"""An evaluation's numbers with what can be seen and heard of them."""

from collections.abc import Mapping

from mdm.training.pictures import Picture
from mdm.training.sounds import Sound


class Illustrated(dict[str, float]):
  """An evaluation's numbers by name, with what shows what they measure.

  Attributes:
    picture: what `PictureFiles` and other writers keep of it; None for none.
    sounds: by name, what `SoundFiles` and other writers keep.
  """

  def __init__(
    self,
    numbers: Mapping[str, float],
    picture: Picture | None = None,
    sounds: Mapping[str, Sound] | None = None,
  ) -> None:
    super().__init__(numbers)
    self.picture = picture
    self.sounds = dict(sounds or {})
