"""Exports what a run learned, for `load`, or in a layout that others read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdm.api.layouts import export_layout
from mdm.api.model import load
from mdm.api.saving import DTYPES, save_pretrained
from mdm.api.weights import check_target, find_model, is_exported
from mdm.masks.choices import check_choice


def export(
  run: str | Path,
  folder: str | Path,
  *,
  dtype: str = "float32",
  step: int | None = None,
  metrics: Sequence[str | Path] = (),
  notes: Sequence[str] = (),
  force: bool = False,
  layout: str | None = None,
) -> dict[str, Any]:
  """Writes `model.safetensors`, `config.json` and the card `README.md` into a folder.

  Args:
    run: the run's folder; with a layout also a folder of weights.
    folder: where to write; made if need be.
    dtype: of the parameters, "float32" or "bfloat16"; running statistics stay float32.
    step: which checkpoint; None for the newest.
    metrics: files that `mdm bench reader` or `hearing` wrote with `--json`.
    notes: sentences on the training, for the card.
    force: whether files that are there are replaced.
    layout: one of `layouts.LAYOUTS`, for published files without a card.

  Returns:
    The folder, the step, the number of parameters and the size in bytes.

  Raises:
    ValueError: no such run or checkpoint, an unknown dtype, a metrics file that is
      none, or a folder that holds something while `force` is False.
  """
  check_choice("dtype", dtype, DTYPES)
  if layout is not None:
    if metrics or notes:
      raise ValueError(
        "a published layout has no card; leave out --metrics and --note."
      )
    return export_layout(run, folder, layout, dtype=dtype, step=step, force=force)
  source = find_model(run)
  if is_exported(source):
    raise ValueError(f"{source} is exported already; copy it, or name a run.")
  check_target(Path(folder), force)
  return save_pretrained(
    load(source, step=step),
    folder,
    dtype=dtype,
    metrics=metrics,
    notes=notes,
    force=force,
  )
