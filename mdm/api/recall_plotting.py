"""What a model of recall answers, as a picture."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdm.api.model import Model
from mdm.training.build import build_section


@dataclasses.dataclass(frozen=True)
class ShownQuestions:
  """Which examples are drawn: the first of a split."""

  split: str = "test"


def plot_recall(
  model: Model, out: str | Path, count: int, settings: Mapping[str, Any]
) -> None:
  """Examples with their questions and what the model answers.

  Args:
    model: of `text.recall`.
    out: the picture's path.
    count: how many examples.
    settings: fields of `ShownQuestions`.

  Raises:
    ValueError: an unknown setting, no example, a file that cannot be written.
  """
  from mdm.data import datasets
  from mdm.evaluation.image_plots import check_picture, save_picture
  from mdm.evaluation.recall_plots import Questions, draw_questions

  check_picture(out)
  shown = build_section(ShownQuestions, settings, "plot")
  if count < 1:
    raise ValueError(f"count = {count} examples are none to draw; write 1 or more.")
  dataset: Any = datasets.load(model.cfg.data.to_dict(), shown.split)
  rows = dataset.fetch(np.arange(min(count, len(dataset))))
  asked = {name: rows[name] for name in ("tokens", "places")}
  logits = jax.jit(lambda v, b: model.method.apply(v, b, method="logits"))(
    model.variables, asked
  )
  given = np.asarray(logits).argmax(-1)  # b q
  examples = []
  for number, answers in enumerate(rows["answers"]):
    right = int((given[number] == answers).sum())
    examples.append(
      Questions(
        tokens=rows["tokens"][number],
        places=rows["places"][number],
        answers=answers,
        given=given[number],
        title=f"{shown.split} {number}: {right} of {len(answers)} right",
      )
    )
  save_picture(out, [draw_questions(examples)])
