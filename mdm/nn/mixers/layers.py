"""One mixer for each layer of a network, from the one that its config describes."""

from typing import Any

import flax.linen as nn


def layer_mixer(mixer: nn.Module, width: int, **settings: Any) -> Any:
  """A mixer of these settings for a layer of tokens of `width`, bound to nothing yet.

  Args:
    mixer: any module with the signature of `mixers.base`.
    settings: of the network, for those fields that the mixer has.

  Raises:
    ValueError: heads that do not divide the width where no width of a head is given.
  """
  given: Any = mixer
  if getattr(given, "head_width", 0) is None:
    if width % given.heads:
      raise ValueError(
        f"heads = {given.heads} must divide width = {width}; set the mixer's "
        "head_width, or another of the two."
      )
    settings["head_width"] = width // given.heads
  known = given.__dataclass_fields__
  fills = {name: value for name, value in settings.items() if name in known}
  return given.clone(parent=None, name=None, **fills)
