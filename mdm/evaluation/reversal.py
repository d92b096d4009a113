"""Half a text asked for by the other half: forwards, as it was read, and backwards.

A row is a first and a second half. Forwards the first is given and the second is to be
written; backwards the second is given. A mask diffusion has the hidden half before or
behind what is given. A model that writes from left to right can only write behind:
backwards it is given the second half and asked to go on. How many positions are hidden
is told in both cases; no token is drawn at random.

  accuracy  share of the hidden half's tokens that are right
  exact     share of halves without an error

Source: *Large Language Diffusion Models*, 2025, section 3.3 (reversal of poems); *The
Reversal Curse*, Berglund et al., 2023.
Differences: LLaDA asks in words for the line before, after instruction tuning; here the
given half is all the prompt there is.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mdm.decoding.settings import SamplerSettings
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.samples import Sampler, draw_rows, make_sampler
from mdm.methods.base import Method

DIRECTIONS = ("forward", "backward")


class Asked(NamedTuple):
  """Rows to complete, what is right, and where it counts.

  `canvas` holds MASK where a token is to be written, `valid` what is no padding; where
  `counts`, what is written is compared with `truth`.
  """

  canvas: Int[np.ndarray, "b n"]
  valid: Bool[np.ndarray, "b n"]
  truth: Int[np.ndarray, "b n"]
  counts: Bool[np.ndarray, "b n"]


@dataclasses.dataclass(frozen=True)
class Reversal(Evaluation):
  """Completes both halves of the rows of a split of pairs.

  Attributes:
    split: which part of the data set; "train" asks for what was learned by heart.
    batch: rows completed at once.
    limit: only the first so many; 0 for all.
    num_steps: passes of a mask diffusion, which commits what is surest first.
  """

  split: str = "train"
  batch: int = 64
  limit: int = 0
  num_steps: int = 32

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    dataset = datasets.load({**data, "learns_prompt": False}, self.split)
    numbers = np.arange(min(self.limit or len(dataset), len(dataset)))
    rows, eos_id = dataset.fetch(numbers), dataset.tokenizer.eos_id
    is_causal = bool(getattr(getattr(method, "network", None), "is_causal", False))
    ask = ask_behind if is_causal else ask_in_place
    settings = SamplerSettings(
      num_steps=self.num_steps, temperature=0.0, never_ids=(eos_id,) * is_causal
    )
    draw = make_sampler(
      method, "ancestral" if is_causal else "low_confidence", settings
    )
    mask_id = int(getattr(method, "mask_id"))  # noqa: B009  of all that can sample
    asked = {d: ask(rows, d, mask_id=mask_id, eos_id=eos_id) for d in DIRECTIONS}

    def evaluate(variables: Variables) -> dict[str, float]:
      """Numbers of both directions."""
      found = {"count": float(len(numbers))}
      for direction, task in asked.items():
        written = complete(draw, variables, task, self.batch)
        found |= {f"{direction}_{k}": v for k, v in compare(written, task).items()}
      return found

    return evaluate


def ask_in_place(
  rows: Mapping[str, np.ndarray], direction: str, *, mask_id: int, eos_id: int
) -> Asked:
  """One half hidden where it stands; the end is hidden with the second half."""
  tokens, prompt, valid = rows["tokens"], rows["prompt"], rows["valid"]
  hidden = prompt if direction == "backward" else valid & ~prompt
  counts = hidden & (tokens != eos_id)
  return Asked(np.where(hidden, mask_id, tokens), valid, tokens, counts)


def ask_behind(
  rows: Mapping[str, np.ndarray], direction: str, *, mask_id: int, eos_id: int
) -> Asked:
  """The given half first and the hidden one behind it, without the end."""
  is_text = rows["valid"] & (rows["tokens"] != eos_id)
  is_second = ~rows["prompt"] if direction == "forward" else rows["prompt"]
  order = np.argsort(is_second + 2 * ~is_text, axis=1, kind="stable")
  tokens, valid, counts = (
    np.take_along_axis(x, order, axis=1)
    for x in (rows["tokens"], is_text, is_text & is_second)
  )
  return Asked(np.where(counts | ~valid, mask_id, tokens), valid, tokens, counts)


def complete(
  draw: Sampler, variables: Variables, task: Asked, batch: int
) -> Int[np.ndarray, "b n"]:
  """What a sampler writes."""
  given = task.valid & (task.canvas == task.truth)
  found = draw_rows(
    draw, variables, task.canvas, batch=min(batch, len(task.canvas)),
    valid=task.valid, prompt=given,
  )  # fmt: skip
  return np.concatenate([part.tokens for part in found])


def compare(written: Int[np.ndarray, "b n"], task: Asked) -> dict[str, float]:
  """Share of tokens and of rows that are right, and the standard error of the first."""
  right = ((written == task.truth) & task.counts).sum(axis=1)
  asked = task.counts.sum(axis=1)
  rate = right.sum() / asked.sum()
  error = np.sqrt(((right - rate * asked) ** 2).sum()) / asked.sum()
  return {
    "accuracy": float(rate),
    "accuracy_stderr": float(error),
    "exact": float((right == asked).mean()),
  }
