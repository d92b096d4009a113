"""A setting that names one of a few choices, checked before anything is compiled."""

import difflib
from collections.abc import Iterable


def check_choice(setting: str, value: str, known: Iterable[str]) -> None:
  """Checks that `value` is one of the `known` names.

  Raises:
    ValueError: otherwise, with the nearest name and all others.
  """
  known = list(known)
  if value not in known:
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)
    raise ValueError(
      f"{setting} = {value!r} is unknown; did you mean {near[0]!r}? "
      f"Known: {', '.join(known)}."
    )
