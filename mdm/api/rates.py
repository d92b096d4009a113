"""A learning rate for a config, by a sweep; see `training/rate_finder.py`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_collections

from mdm.training import config, rate_finder
from mdm.training.feed import Feed


def find_rate(
  path: str | Path | ml_collections.ConfigDict,
  *,
  overrides: Iterable[str] = (),
  out: str | Path | None = None,
  steps: int = rate_finder.STEPS,
  feed: Feed | None = None,
) -> dict[str, Any]:
  """Sweeps over learning rates from a fresh state; no run is touched.

  Args:
    path: the config's file, or a config.
    overrides: "section.key=value" each.
    out: a picture of the losses; None for none.
    steps: of the sweep, at most.
    feed: batches, if not those of `config.data`.

  Returns:
    "rate", the one suggested, "least", "steepest" and "has_risen" (see
    `rate_finder.Suggestion`), and "rates", "losses" and "smoothed" of each step.

  Raises:
    ValueError: a setting is wrong, the loss never falls, the picture cannot be written.
  """
  from mdm.evaluation.image_plots import check_picture

  if out is not None:
    check_picture(out)
  cfg = (
    path
    if isinstance(path, ml_collections.ConfigDict)
    else config.load(path, overrides)
  )
  rates, losses = rate_finder.sweep_rates(cfg, steps=steps, feed=feed)
  found = rate_finder.suggest_rate(rates, losses)
  if out is not None:
    _draw(rates, losses, found, out)
  return {**found._asdict(), "rates": rates, "losses": losses}


def _draw(
  rates: list[float],
  losses: list[float],
  found: rate_finder.Suggestion,
  out: str | Path,
) -> None:
  """Losses over rates, with the one suggested."""
  from mdm.evaluation.line_plots import draw_lines, save_plot

  count = len(found.smoothed)
  if min(losses[:count]) <= 0:
    raise ValueError(
      "a loss of 0 or less has no place on a logarithmic axis; leave --out out."
    )
  lines = {
    "smoothed": list(zip(rates[:count], found.smoothed, strict=True)),
    "loss": list(zip(rates[:count], losses[:count], strict=True)),
  }
  picture = draw_lines(
    lines,
    title=f"suggested learning rate: {found.rate:.2g}",
    across="learning rate",
    up="loss",
    mark=(found.rate, f"{found.rate:.2g}"),
  )
  save_plot(picture, out)
